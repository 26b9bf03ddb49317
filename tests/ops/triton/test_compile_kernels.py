import os
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import pytest

NAMES = "attention", "grad_queries", "grad_keys", "norm", "grad_norm", "grad_pooling"
KERNELS = {f"{name}_kernel" for name in NAMES}
# Shared memory per block on the GPUs with the least of it: compute capability 8.6, 8.9 and 12.0.
MAX_SHARED_BYTES = 99 * 1024


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_and_fit(capability, tmp_path):
    script = Path(__file__).with_name("compile_kernels.py")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    run = subprocess.run(
        [sys.executable, script, str(capability)], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    shared = defaultdict(list)
    for line in run.stdout.splitlines():
        name, compiled_for, size = line.split()
        assert int(compiled_for) == capability
        shared[name].append(int(size))
    assert set(shared) == KERNELS
    assert max(map(max, shared.values())) <= MAX_SHARED_BYTES
