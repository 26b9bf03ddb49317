"""Files that are changed at random are read or refused in one line, within 10 seconds and 1 GiB of memory.

FAULTS=long in the environment reads 100,000 of them, which takes an hour or two.
"""

import pytest

from tests.faults.integrations import IS_LONG
from tests.faults.runs import run_script

COUNT = 14_300 if IS_LONG else 50  # of each of the seven kinds


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coco", "results", "yolo", "voc", "images", "weights", "run"])
def test_mutated_files(kind, tmp_path):
    """A file that fails is left in ``tmp_path``."""
    pytest.importorskip("hypothesis")
    assert "files in all" in run_script("mutated_files", kind, COUNT, tmp_path)
