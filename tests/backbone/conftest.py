import os
from importlib.util import find_spec

import pytest
import torch

from mvit_det.backbone.kernels import has_native

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read where Triton is imported: its kernels run on a CPU


@pytest.fixture
def kernels(monkeypatch):
    """Let our Triton kernels run in Triton's interpreter, in any dtype; it cannot multiply bfloat16."""
    if find_spec("triton") is None or torch.cuda.is_available():
        pytest.skip("needs Triton's interpreter: Triton, and no GPU")
    for module in ("norms", "attend"):
        monkeypatch.setattr(f"mvit_det.backbone.{module}.has_triton", lambda device, dtype: True)


@pytest.fixture
def native():
    if not has_native("cpu", torch.float32):
        pytest.skip("needs a processor with AVX2 and a C compiler")
