"""``python -m mvit_det``."""

from mvit_det.cli.main import main

main()
