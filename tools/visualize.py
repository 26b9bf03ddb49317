#!/usr/bin/env python3
"""Draw the training data or the predictions of a lazy config, or a COCO results file; see --help."""

from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        from mvit_det.detectron2.visualize import main

        main()
