"""Hostile and damaged files: each is refused in one line, runs no code, and takes little memory."""

import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mvit_det.backbone.mvit import build_mvit
from mvit_det.errors import InputError
from mvit_det.weights import load_weights

READ_ALL = """
import re, sys
from pathlib import Path
from mvit_det.errors import InputError
from mvit_det.weights import read_checkpoint
for name in sys.argv[1:]:
    try:
        print(name, "was read:", read_checkpoint(Path(name)))
    except InputError as error:
        print(error)
status = Path("/proc/self/status")  # getrusage reports the peak of the parent process
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) // 1024 if status.exists() else 0)
"""


class Calls:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


MALFORMED = {  # changes to a backbone's weights
    "both_integrations.pth": {
        "rpn.head.conv.0.0.weight": torch.ones(1),
        "backbone.bottom_up.a": torch.ones(1),
    },
    "no_axis.pth": {"head.weight": torch.tensor(1.0), "patch_embed.proj.weight": torch.tensor(1.0)},
    "sparse.pth": {"head.weight": torch.eye(3).to_sparse()},
}


def write_zip(path, pickled, name="archive/data.pkl"):
    """Write a zip file with torch's layout, but without torch."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, pickled)
        archive.writestr("archive/version", "3\n")


def write_bomb(path):
    """Write a zip file with torch's layout whose only tensor unpacks into two gigabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}), zipfile.ZIP_STORED)
        with archive.open("archive/data/0", "w", force_zip64=True) as entry:
            for _ in range(128):
                entry.write(bytes(2**24))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Write the files; return their folder, and a dict from file names to parts of the expected errors."""
    folder = tmp_path_factory.mktemp("hostile")
    run = Calls(os.system, f"touch {folder}/ran")
    (folder / "calls.pkl").write_bytes(pickle.dumps({"model": run}))
    (folder / "old.pkl").write_bytes(pickle.dumps({"model": run}, protocol=2))
    torch.save({"model": {"a": torch.ones(2)}, "hook": run}, folder / "calls.pth")
    torch.save({"model": run}, folder / "calls_old.pth", _use_new_zipfile_serialization=False)
    torch.save({"model": Calls(bytearray, 10**10)}, folder / "takes_memory.pth")
    torch.save(
        {"model": Calls(bytearray, 10**10)},
        folder / "takes_memory_old.pth",
        _use_new_zipfile_serialization=False,
    )
    nested = b"}" + b")" + b"\x85" * 1_000_000 + b"Ns."  # a dict whose key is a deeply nested tuple
    (folder / "nested.pkl").write_bytes(b"\x80\x04" + nested)
    write_zip(folder / "nested.pth", b"\x80\x02" + nested)
    # Five nested tuples; each one refers a hundred times to the one before.
    laughs = b"N\x94" + b"".join(b"(" + bytes([0x68, i]) * 100 + b"t\x94" for i in range(5))
    (folder / "laughs.pkl").write_bytes(b"\x80\x04" + laughs + b".")
    (folder / "buffer.pkl").write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 3 * 10**9) + b".")
    (folder / "set.pkl").write_bytes(pickle.dumps({"model": {1, 2}}))
    call = b"\x80\x02cbuiltins\nbytearray\nJ" + struct.pack("<i", 2 * 10**9) + b"\x85R."
    write_zip(folder / "upper.pth", call, name="archive/DATA.PKL")
    write_zip(folder / "opcode.pth", b"\x80\x02\x95")
    write_zip(folder / "two.pth", b"\x80\x02}.")
    whole_zip = (folder / "two.pth").read_bytes()
    (folder / "two.pth").write_bytes(whole_zip[:-22] + whole_zip)  # a second archive after the first
    base = torch.zeros(1)
    torch.save({f"a{i}": base.expand(200_000) for i in range(100)}, folder / "views.pth")
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, folder / "complex.pth")
    os.mkfifo(folder / "pipe.pth")
    (folder / "many_opcodes.pkl").write_bytes(b"\x80\x04" + b"]" * 20_000_000)
    (folder / "long_bytes.pkl").write_bytes(b"\x80\x04\x8e" + (2**40).to_bytes(8, "little"))
    torch.save({"model": {"a": torch.ones(1).expand(10**6, 10**6)}}, folder / "wide.pth")
    write_bomb(folder / "bomb.pth")
    (folder / "empty.pth").touch()
    (folder / "page.pth").write_text("\n<!DOCTYPE html><html><body>404 Not Found</body></html>")
    (folder / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (folder / "text.pkl").write_text("no weights at all")
    (folder / "header.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")

    whole = build_mvit("mvitv2_nano").state_dict()
    torch.save(whole, folder / "whole.pth")
    save_file(whole, folder / "whole.safetensors")
    (folder / "whole.pkl").write_bytes(pickle.dumps({"model": {"a": np.zeros(1000)}}))
    for name in ("whole.pth", "whole.safetensors", "whole.pkl"):
        content = (folder / name).read_bytes()
        (folder / f"cut_{name}").write_bytes(content[: len(content) // 2])
    for name, changes in MALFORMED.items():
        torch.save(whole | changes, folder / name)
    torch.save({key: w for key, w in whole.items() if key != "blocks.1.attn.proj.weight"}, folder / "gap.pth")
    torch.save({"layer1.0.conv1.weight": torch.ones(2), "fc.weight": torch.ones(2)}, folder / "resnet.pth")
    torch.save({"epoch": 3}, folder / "no_tensors.pth")
    return folder, {
        "calls.pkl": "names 'posix.system', which could run code",
        "old.pkl": "names 'posix.system', which could run code",
        "calls.pth": "names 'posix.system', which could run code",
        "calls_old.pth": "names 'posix.system', which could run code",
        "takes_memory.pth": "bytearray', which could run code or take any amount of memory",
        "takes_memory_old.pth": "bytearray', which could run code or take any amount of memory",
        "nested.pkl": "uses a tuple as a key",
        "nested.pth": "uses a tuple as a key",
        "laughs.pkl": "holds no named tensors",
        "buffer.pkl": "its data are incomplete",
        "set.pkl": "holds a set",
        "upper.pth": "a zip file, but not one that torch wrote",
        "opcode.pth": "is a damaged pickle",
        "two.pth": "its archive directory is not where torch writes it",
        "views.pth": "its tensors would be larger than the file",
        "complex.pth": "a tensor of torch.complex64 (torch.strided, cpu)",
        "pipe.pth": "is not a file",
        "many_opcodes.pkl": "more than 2,000,000 opcodes",
        "long_bytes.pkl": "its data are incomplete",
        "wide.pth": "its tensors would be larger than the file",
        "bomb.pth": "'archive/data/0' is compressed, and would take 2,147,483,648 bytes",
        "empty.pth": "is empty",
        "page.pth": "is a web page",
        "pointer.safetensors": "is a Git LFS pointer",
        "text.pkl": "is not a weight file",
        "header.safetensors": "its header would take 1,099,511,627,776 bytes",
        "cut_whole.pth": "is damaged or incomplete",
        "cut_whole.safetensors": "is a damaged safetensors file",
        "cut_whole.pkl": "its data are incomplete",
        "resnet.pth": "another network, such as 'fc.weight'",
        "both_integrations.pth": "weights with Detectron2's names, such as 'backbone.bottom_up.a'",
        "sparse.pth": "a tensor of torch.float32 (torch.sparse_coo, cpu)",
        "no_tensors.pth": "holds no named tensors",
        "missing.pth": "no such file",
    }


def test_every_file_is_refused_in_one_line_and_in_little_memory(hostile):
    folder, expected = hostile
    paths = [str(folder / name) for name in expected]
    reader = subprocess.run(
        [sys.executable, "-c", READ_ALL, *paths], capture_output=True, text=True, check=True
    )
    *lines, peak = reader.stdout.splitlines()
    assert len(lines) == len(expected), reader.stdout
    for path, line, words in zip(paths, lines, expected.values(), strict=True):
        assert line.startswith(f"{path}: "), line
        assert words in line
    assert not (folder / "ran").exists()
    assert int(peak) < 1000, f"{peak} MB at most"


def test_missing_tensors_and_wrong_shapes_are_reported(hostile):
    folder, _ = hostile
    model = build_mvit("mvitv2_nano")
    assert "blocks.1.attn.proj.weight" in load_weights(model, folder / "gap.pth").missing
    with pytest.raises(
        InputError, match=r"no_axis.pth: .*patch_embed.proj.weight has the shape \(\) in the file"
    ):
        load_weights(model, folder / "no_axis.pth")
