#!/usr/bin/env python3
"""Train or evaluate the model of a lazy config; see --help."""

from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        from mvit_det.detectron2.train import main

        main()
