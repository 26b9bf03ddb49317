"""``python -m mvit_det``."""

import sys

from mvit_det.cli import main

sys.exit(main())
