#!/usr/bin/env python3
"""Train or evaluate the model of a lazy config; see --help."""

import sys
from pathlib import Path

from mvit_det.engine.interruption import interruptible
from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors(), interruptible(Path(sys.argv[0]).name):
        from mvit_det.detectron2.train import main

        main()
