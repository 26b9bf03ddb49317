import re
import struct
import zipfile

import pytest
import torch

from mvit_det.errors import InputError
from mvit_det.weights.reading import pickles, read_file


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_both_formats_of_torch_are_read_to_the_bit(is_zip, tmp_path):
    base = torch.randn(3, 4)
    dtypes = (torch.bfloat16, torch.float16, torch.int64, torch.bool)
    tensors = {str(dtype): base.to(dtype) for dtype in dtypes} | {"rows": base[1:], "transposed": base.T}
    tensors["parameter"] = torch.nn.Parameter(base)
    content = {"model": tensors, "epoch": 3, "sizes": [torch.Size([2, 3]), (1, 2)]}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=is_zip)
    actual = read_file(tmp_path / "a.pth")
    assert (actual["epoch"], actual["sizes"]) == (3, content["sizes"])
    for name, tensor in tensors.items():
        assert actual["model"][name].dtype == tensor.dtype
        assert torch.equal(actual["model"][name], tensor)


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (b"ctorch\nSize\nK\x05\x85R.", "makes a torch.Size of something other than a list"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n)R.", "names 'torch._tensor._rebuild_from_type_v2'"),
        (b"cbuiltins\ngetattr\n)R.", "names 'builtins.getattr'"),
    ],
)
def test_functions_that_torch_should_not_call_are_refused(pickled, words, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickled)
        archive.writestr("archive/version", "3\n")
    with pytest.raises(InputError, match=f"a.pth: is refused: its pickle {words}"):
        read_file(tmp_path / "a.pth")


def test_every_damaged_byte_of_a_tensor_is_found(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"model": {"a": torch.zeros(64), "b": torch.ones(64)}}, path)
    content = path.read_bytes()
    start = content.index(torch.ones(64).numpy().tobytes())
    for position in range(start, start + 256, 5):
        path.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        with pytest.raises(InputError, match="a.pth: is damaged: the checksum of 'a/data/1' is wrong"):
            read_file(path)
    path.write_bytes(content)
    assert torch.equal(read_file(path)["model"]["b"], torch.ones(64))


@pytest.mark.parametrize("count", [1000, 2**31 - 1])
def test_storages_larger_than_a_legacy_file_are_refused_before_they_are_allocated(
    count, tmp_path, monkeypatch
):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(200)}, path, _use_new_zipfile_serialization=False)
    number = b"K\xc8Ntq"  # 200 elements, at the end of a tuple
    content = path.read_bytes()
    assert content.count(number) == 1
    path.write_bytes(content.replace(number, b"J" + struct.pack("<i", count) + b"Ntq"))
    monkeypatch.delattr(torch, "load")
    with pytest.raises(InputError, match=r"a.pth: is damaged .*: its tensors would be larger than the file"):
        read_file(path)


@pytest.mark.parametrize("view", [(7, (3, 4), (4, 1)), (0, (5, 4), (4, 1)), (0, (3, 4), (99, 1))])
def test_tensors_that_reach_beyond_their_storage_are_refused(view, tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    whole = torch.arange(18.0)
    torch.save({"a": whole.as_strided((3, 4), (4, 1), 6)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_file(path)["a"], whole[6:].view(3, 4))
    # BININT1 writes a number, TUPLE2 a tuple of two, and BINPUT remembers it.
    match = re.search(rb"K\x06K\x03K\x04\x86(q.)K\x04K\x01\x86", path.read_bytes(), re.DOTALL)
    offset, size, stride = view
    changed = b"K%cK%cK%c\x86%bK%cK%c\x86" % (offset, *size, match[1], *stride)
    path.write_bytes(path.read_bytes().replace(match[0], changed))
    monkeypatch.delattr(torch, "load")
    with pytest.raises(InputError, match=r"a.pth: is damaged .*: a tensor reaches beyond its storage"):
        read_file(path)


def test_the_number_of_opcodes_is_limited_over_all_pickles_of_a_legacy_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    monkeypatch.setattr(pickles, "MAX_OPCODES", 400)
    read_file(path)
    magic = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    slow = b"]0" * 150 + b"M\xe9\x03."  # makes 150 lists, and then the number of the protocol
    path.write_bytes(path.read_bytes().replace(magic + b"\x80\2M\xe9\3.", magic + b"\x80\2" + slow))
    with pytest.raises(InputError, match=r"a.pth: is refused: its pickle has more than 400 opcodes"):
        read_file(path)
