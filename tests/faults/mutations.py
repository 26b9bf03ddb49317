"""Strategies of hypothesis that change JSON, text and binary files at random."""

import copy
import json
import re

from hypothesis import strategies as st

ZIGZAG = [value for step in range(3000) for value in (3e4 * (step % 2), step % 40)]
NESTED = json.loads("[" * 200 + "]" * 200)
RLE = {"size": [40, 60], "counts": "PPPh2000"}
HOSTILE = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        7,
        90,
        2**31,
        2**63,
        10**30,
        0.1,
        1e308,
        float("nan"),
        float("inf"),
        -1e30,
    ),
    *("", " ", "0", "1e400", "nan", "\0", "\ud800", "\x1b[31m", "[bold]", "<b>", "$x$", "a" * 300, "\u202e"),
    *("../../etc/passwd", "/etc/passwd", "..", ".", "a.png", "images/a.png", "C:\\a.png", "a\0.png"),
    *([], {}, [[]], [{}], [None], [1, 2, 3, 4], [0, 0, 1e9, 1e9], ["1", "2", "3", "4"], NESTED),
    *([[0, 0, 60, 0, 60, 40]], [ZIGZAG], [[x / 1e4 for x in ZIGZAG]], [[0, 0, 1e308, 0, -1e308, 9]]),
    *(RLE, {"size": [10**5, 10**5], "counts": [10**10]}, {"size": [40, 60], "counts": [2400]}),
    *({"size": [40, 60], "counts": "\x7f" * 99}, {"counts": [1200, 1200]}, {"size": [-1, 2], "counts": "0"}),
]
TOKENS = [
    *(b"0", b"-1", b"1e400", b"nan", b"inf", b"0x10", b"99999999999999999999", b"0.5", b"1.0000001", b"0,5"),
    *(
        b"",
        b" ",
        b"\n",
        b"\r",
        b"\0",
        b"\x1b[31m",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"a" * 300,
        "\u202e".encode(),
    ),
    *(b"<object>", b"</object>", b"<bndbox>", b"<polygon><x1>1</x1></polygon>", b"&lol;", b"<![CDATA["),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b"- ",
        b"*a",
        b"&a",
        b"!!python/object/apply:os.system [id]",
        b"? ",
        b"|",
    ),
    *(b"../../etc/passwd", b"/etc/passwd", b"/dev/zero", b"..", b"images/a.png", b"b.jpg", b"#", b'"', b"'"),
    *(b"path: /", b"train: /dev", b"names: {0: a}", b"nc: 100000", b"kpt_shape: [1, 2]", b"80000000000000"),
]


@st.composite
def mutated_json(draw, original):
    """Return JSON text in which up to four values have been replaced, removed, repeated, or put in a list."""
    data = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 4))):
        parent, key, node = None, None, data
        while isinstance(node, (list, dict)) and node and (parent is None or draw(st.integers(0, 3))):
            key = draw(st.sampled_from(sorted(node, key=str) if isinstance(node, dict) else range(len(node))))
            parent, node = node, node[key]
        if parent is None:
            continue
        action = draw(st.sampled_from(("hostile", "hostile", "value", "remove", "wrap", "repeat", "text")))
        if action == "remove":
            del parent[key]
        elif action == "repeat" and isinstance(parent, list):
            parent.extend(copy.deepcopy(node) for _ in range(draw(st.integers(1, 20))))
        elif action == "wrap":
            parent[key] = [node]
        elif action == "text":
            parent[key] = json.dumps(node)
        elif action == "value":
            parent[key] = draw(st.one_of(st.floats(), st.integers(), st.text(max_size=9)))
        else:
            parent[key] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
    text = json.dumps(data).encode()
    return draw(mutated_bytes(text)) if draw(st.integers(0, 9)) == 0 else text


@st.composite
def mutated_bytes(draw, original, tokens=()):
    """Return bytes of which up to five places have been overwritten, removed, repeated or cut off.

    If there are ``tokens``, most places are words of the text, and tokens replace them.
    """
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 5))):
        words = [match.span() for match in re.finditer(rb"[\w.]+|\W", data)] if tokens else []
        if words and draw(st.integers(0, 4)):
            start, end = draw(st.sampled_from(words))
            data[start:end] = draw(st.sampled_from(tokens))
            continue
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 1, 1, 2, 4, 8, 30))))
        action = draw(st.sampled_from(("overwrite", "overwrite", "remove", "repeat", "cut")))
        if action == "overwrite":
            data[start:end] = draw(st.binary(min_size=end - start, max_size=end - start + 2))
        elif action == "remove":
            del data[start:end]
        elif action == "repeat":
            data[start:end] = data[start:end] * draw(st.integers(2, 50))
        else:
            del data[start:]
    return bytes(data)


def check_message(error):
    """Check that an ``InputError`` has a message, and does not stand for memory that was not there."""
    assert str(error), "an error without a message"
    cause = error
    while cause is not None:
        assert not isinstance(cause, MemoryError), f"takes too much memory: {error}"
        assert "allocate memory" not in str(cause), f"takes too much memory: {cause}"
        cause = cause.__cause__ or cause.__context__
