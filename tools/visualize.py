#!/usr/bin/env python3
"""Look at the data of a lazy config, its predictions or its results; --help says how."""

from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        from mvit_det.detectron2.visualize import main

        main()
