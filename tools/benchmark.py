#!/usr/bin/env python3
"""Compare time and memory of our backbone or, after the word detector, of whole detectors, which run in turn.

tools/benchmark.py --against detectron2-mvit ours:recompute=cheap --sizes 512x768 800x1216 --out runs/bench
tools/benchmark.py detector --dtypes float32 bf16 --out runs/bench
"""

import sys

from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        if sys.argv[1:2] == ["detector"]:
            from mvit_det.benchmark.detector_main import main as detector_main

            detector_main(sys.argv[2:])
        else:
            from mvit_det.benchmark.main import main

            main()
