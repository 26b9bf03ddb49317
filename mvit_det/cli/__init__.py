"""The command ``mvit-det``: one module per subcommand."""
