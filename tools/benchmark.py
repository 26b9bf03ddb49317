#!/usr/bin/env python3
"""Compare time and memory of our backbone with other models, which run in turn; see --help.

tools/benchmark.py --against detectron2-mvit ours:recompute=cheap --sizes 512x768 800x1216 --out runs/bench
"""

from mvit_det.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        from mvit_det.benchmark.main import main

        main()
