"""Files that are changed at random are read or refused in one line, within 10 seconds and 1 GiB of memory.

FAULTS=long in the environment reads 100,000 of them, which takes an hour or two.
"""

import pytest

from tests.faults.integrations import IS_LONG
from tests.faults.runs import run_script

COUNT = 14_300 if IS_LONG else 50  # of each of the seven kinds


@pytest.mark.slow
def test_mutated_files(tmp_path):
    """A file that fails is left in ``tmp_path``."""
    pytest.importorskip("hypothesis")
    kinds = ("coco", "results", "yolo", "voc", "images", "weights", "run")
    output = run_script("mutated_files", COUNT, tmp_path, *kinds)
    assert output.count(f": {COUNT} files in all") == len(kinds)
