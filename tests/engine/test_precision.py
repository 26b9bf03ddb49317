import pytest
import torch

from mvit_det.engine.precision import autocast_dtype
from mvit_det.errors import InputError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("amx", "avx512", "expected"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, None)],
)
def test_a_cpu_computes_in_bf16_if_it_has_instructions_for_it(monkeypatch, amx, avx512, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert autocast_dtype("auto", CPU) == expected
    assert autocast_dtype("float32", CPU) is None
    assert autocast_dtype("bf16", CPU) == torch.bfloat16


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_computes_in_half_precision(monkeypatch, has_bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16)
    assert autocast_dtype("auto", GPU) == expected
    assert autocast_dtype("fp16", GPU) == torch.float16


def test_a_precision_that_the_device_lacks_is_refused(monkeypatch):
    with pytest.raises(InputError, match="precision fp16: a CPU computes in float32 or bf16"):
        autocast_dtype("fp16", CPU)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    with pytest.raises(InputError, match="precision bf16: this GPU computes in float32 or fp16"):
        autocast_dtype("bf16", GPU)
    with pytest.raises(InputError, match="unknown precision 'half': .*expected one of auto, bf16"):
        autocast_dtype("half", CPU)
    with pytest.raises(InputError, match="^train.eval_precision fp16: a CPU"):
        autocast_dtype("fp16", CPU, "train.eval_precision")
