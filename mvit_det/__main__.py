"""``python -m mvit_det``."""

from mvit_det.cli import main

main()
