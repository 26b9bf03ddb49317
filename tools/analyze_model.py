#!/usr/bin/env python3
"""Parameters, multiply-adds and activations of a detector, by part; needs no weights and no data.

tools/analyze_model.py --config-file configs/mask_rcnn_mvitv2_t_3x.py [--size 800 1280] [key=value ...]
"""

from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        from mvit_det.detectron2.analyze import main

        main()
