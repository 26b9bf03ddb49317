#!/usr/bin/env python3
"""Print the parameters, multiply-adds and activations of each part of a detector; see --help.

The script needs neither weights nor data:

    tools/analyze_model.py --config-file mask_rcnn_mvitv2_t_3x
"""

import sys
from pathlib import Path

from mvit_det.engine.interruption import interruptible
from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors(), interruptible(Path(sys.argv[0]).name):
        from mvit_det.detectron2.analyze import main

        main()
