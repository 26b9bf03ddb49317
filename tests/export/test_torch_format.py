import resource

import pytest
import torch

from mvit_det.errors import RunError
from mvit_det.export import torch_format


def test_a_full_disk_is_named_in_one_line(tmp_path, monkeypatch):
    program = torch.export.export(torch.nn.Linear(100, 100), (torch.ones(1, 100),))
    monkeypatch.setattr(torch_format, "_export", lambda detector: program)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(RunError, match=r"model\.pt2: cannot be written: File too large") as error:
            torch_format.write_program(None, tmp_path / "model.pt2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
    torch_format.write_program(None, tmp_path / "model.pt2")
    outputs = torch.export.load(tmp_path / "model.pt2").module()(torch.ones(1, 100))
    assert outputs.shape == (1, 100)
