"""Strategies of hypothesis that change pickles by their opcodes, and the files of torch that contain them.

Bytes that are changed at random rarely get past the checksums of a file of torch, or the first opcodes of
a pickle.
"""

import io
import pickle
import pickletools
import struct
import zipfile

import torch
from hypothesis import strategies as st

from tests.faults.mutations import mutated_bytes

NUMBERS = (-1, 0, 1, 3, 2**16, 2**24, 2**31 - 1, 2**31, 2**40, 2**62, 2**63, 2**64, 10**30, 2**2000)
HUGE = (2**31 - 1, 2**40, 2**63 - 1)  # lengths that are not there
GLOBALS = (
    *("os system", "builtins bytearray", "builtins getattr", "builtins exec", "builtins range"),
    *("collections OrderedDict", "collections Counter", "collections defaultdict", "_codecs encode"),
    *("numpy ndarray", "numpy dtype", "numpy.core.multiarray _reconstruct"),
    *("numpy.core.multiarray scalar", "numpy.core.numeric _frombuffer", "numpy zeros"),
    *("torch FloatStorage", "torch ComplexFloatStorage", "torch BoolStorage", "torch Size", "torch device"),
    *("torch Tensor", "torch float64", "torch.storage UntypedStorage", "torch.nn.parameter Parameter"),
    *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch._utils _rebuild_tensor"),
    *("torch._utils _rebuild_sparse_tensor", "torch._utils _rebuild_qtensor"),
    *("torch._utils _rebuild_meta_tensor_no_storage", "torch._utils _rebuild_wrapper_subclass"),
    *("torch._utils _rebuild_device_tensor_from_numpy", "torch._utils _rebuild_nested_tensor"),
    *("torch._tensor _rebuild_from_type_v2", "torch.serialization _get_layout", "torch load"),
)
HOSTILE = [
    *(b"c" + name.replace(" ", "\n").encode() + b"\n" for name in GLOBALS),
    *(b"(" + b"N" * count + b"t" for count in (0, 9, 100_000)),  # tuples
    *(b"(" + b"K\1" * count + b"t" for count in (1, 9, 70, 10_000)),  # shapes of many axes
    *(b")" + b"\x85" * depth for depth in (9, 30, 100_000)),  # nested tuples
    *(b"]" * depth + b"a" * (depth - 1) for depth in (9, 30, 100_000)),  # nested lists
    *(b"]q\xc8h\xc8a", b"}q\xc8X\1\0\0\0ah\xc8s"),  # a list and a dict that contain themselves
    *(b"X" + struct.pack("<I", length) + b"a" * min(length, 100_000) for length in (0, 300, 2**31)),
    *(opcode + struct.pack("<Q", length) for opcode in (b"\x8d", b"\x8e", b"\x96") for length in HUGE),
    *(b"\x95" + struct.pack("<Q", 2**63), b"\x8b" + struct.pack("<i", 2**31 - 1), b"T\xff\xff\xff\x7f"),
    *(b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"h\xfe", b"p999999999999\n", b"g-1\n"),  # the memo
    *(b"R", b"b", b"\x81", b"\x92", b"Q", b"P0\n", b"s", b"u", b"a", b"e", b"0", b"1", b"2", b"(", b"."),
    *(b"N", b"\x88", b"]", b"}", b")", b"l", b"d", b"t", b"\x8f", b"\x90", b"\x91", b"\x93", b"\x94"),
    *(b"o", b"ios\nsystem\n", b"\x82\1", b"\x97", b"\x98", b"\x80\5", b"\x80\xff"),
    *(
        b"I99\n",
        b"I" + b"9" * 5000 + b"\n",
        b"L9L\n",
        b"F1e999\n",
        b"G\x7f\xf8" + bytes(6),
        b"S'a'\n",
        b"Va\n",
    ),
    *(pickle.dumps(number, protocol=2)[2:-1] for number in NUMBERS),
]


def split(content):
    """Return the opcodes of a pickle, each with its argument."""
    starts = [position for _, _, position in pickletools.genops(content)]
    return [content[start:end] for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]


@st.composite
def mutated_pickle(draw, original):
    """Return a pickle in which up to four opcodes have been replaced, removed, repeated or exchanged."""
    opcodes = split(original)
    is_number = [opcode[:1] in (b"K", b"M", b"J", b"\x8a") for opcode in opcodes]
    numbers = [index for index, known in enumerate(is_number) if known]
    for _ in range(draw(st.integers(1, 4))):
        index = draw(st.integers(0, len(opcodes) - 1))
        action = draw(
            st.sampled_from(("number", "number", "replace", "insert", "remove", "repeat", "exchange"))
        )
        if action == "number" and numbers:
            index = min(draw(st.sampled_from(numbers)), len(opcodes) - 1)
            opcodes[index] = pickle.dumps(draw(st.sampled_from(NUMBERS)), protocol=2)[2:-1]
        elif action == "insert":
            opcodes.insert(index, draw(st.sampled_from(HOSTILE)))
        elif action == "remove":
            opcodes[index] = b""
        elif action == "repeat":
            opcodes[index] *= draw(st.sampled_from((2, 3, 1000, 100_000))) if len(opcodes[index]) < 20 else 2
        elif action == "exchange":
            other = draw(st.integers(0, len(opcodes) - 1))
            opcodes[index], opcodes[other] = opcodes[other], opcodes[index]
        else:
            opcodes[index] = draw(st.sampled_from(HOSTILE))
    return b"".join(opcodes)


@st.composite
def mutated_zip(draw, original):
    """Return a file of torch whose checksums are right, but whose pickle or entries have been changed.

    Entries are cut off, enlarged, removed, doubled, renamed or compressed. At last, a few bytes of the file
    may be changed, such as a checksum or a length.
    """
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    changed = []
    for name, content in entries:
        if name.endswith("data.pkl"):
            content = draw(mutated_pickle(content))
        elif draw(st.integers(0, 5)) == 0:
            action = draw(st.sampled_from(("cut", "empty", "enlarge", "remove", "double", "rename")))
            if action in ("cut", "empty"):
                content = content[: len(content) // 2 if action == "cut" else 0]
            elif action == "enlarge":
                content += bytes(draw(st.sampled_from((1, 1000, 10**6))))
            elif action == "rename":
                names = ("data/0", "archive/data/9", "archive/DATA.PKL", "../a", "/a", "a" * 300)
                name = draw(st.sampled_from((*names, "archive/byteorder", "archive/.format_version")))
            changed += [(name, content)] * (action == "double")
            if action == "remove":
                continue
        changed.append((name, content))
    compression = draw(st.sampled_from((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in changed:
            archive.writestr(name, content)
    return draw(mutated_bytes(buffer.getvalue())) if draw(st.integers(0, 9)) == 0 else buffer.getvalue()


@st.composite
def mutated_legacy(draw, original):
    """Return a file of torch before 1.6: one of its five pickles, or the storages after them, are changed."""
    file, parts = io.BytesIO(original), []
    for _ in range(5):
        start = file.tell()
        for _ in pickletools.genops(file):
            pass
        parts.append(original[start : file.tell()])
    parts.append(original[file.tell() :])
    index = draw(st.sampled_from((2, 3, 3, 3, 4, 5)))
    parts[index] = draw(mutated_pickle(parts[index]) if index < 5 else mutated_storages(parts[index]))
    return b"".join(parts)


@st.composite
def mutated_storages(draw, original):
    """Return the storages at the end of a legacy file: a number of elements is changed, or bytes are."""
    number = struct.pack("<q", draw(st.sampled_from([number for number in NUMBERS if abs(number) < 2**63])))
    return number + original[8:] if draw(st.booleans()) else draw(mutated_bytes(original))


def torch_file(content, *, legacy):
    """Return the bytes of a file of ``torch.save``."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()
