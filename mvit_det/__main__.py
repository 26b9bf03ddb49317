"""Runs the command ``mvit-det`` as ``python -m mvit_det``."""

from mvit_det.cli.main import main

if __name__ == "__main__":
    main()
