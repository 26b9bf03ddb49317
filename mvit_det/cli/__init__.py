"""The command ``mvit-det``."""
