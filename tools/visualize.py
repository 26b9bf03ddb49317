#!/usr/bin/env python3
"""Draw the training data or the predictions of a lazy config, or a COCO results file; see --help."""

import sys
from pathlib import Path

from mvit_det.engine.interruption import interruptible
from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors(), interruptible(Path(sys.argv[0]).name):
        from mvit_det.detectron2.visualize import main

        main()
