"""Damage to files: a seed and a number give one damaged file, anywhere and at any time."""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Callable
from typing import Any

_NUMBERS: list[Any] = [
    *(0, -1, 1, 2, 7, 33, 2**31, 2**53, 2**63, 2**64, 10**6, 10**12, 10**400),
    *(0.5, -0.0, 1e308, float("nan"), float("inf")),
]
_ODD: list[Any] = [
    *(None, True, False, "", "xxx", "\ud800", "a" * 300, "cuda:7", "O", "U999999"),
    *([], {}, [[]], [3, 3], {"a": 1}, [0] * 40, [float("nan")]),
]


def damaged(content: bytes, kind: str, seed: int) -> bytes:
    """Return a file's content with some damage of the kind that its format invites."""
    rng = random.Random(seed)
    ways: list[Callable[[bytes, random.Random], bytes]] = [_bytes, _cut, _spliced]
    if kind == "safetensors":
        ways += [_header, _metadata, _metadata, _metadata, _nested, _weights]
    elif kind == "npy":
        ways += [_text, _text, _text]
    elif kind == "idx":
        ways += [_idx, _idx, _packed]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(ways)(content, rng)
    return content


def _bytes(content: bytes, rng: random.Random) -> bytes:
    """Change some bytes, most of them near the start."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            most = len(changed) if rng.random() < 0.3 else min(len(changed), 200)
            changed[rng.randrange(most)] = rng.randrange(256)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _spliced(content: bytes, rng: random.Random) -> bytes:
    """Leave out, repeat or insert a piece."""
    start = rng.randrange(len(content) + 1)
    end = min(len(content), start + rng.choice((1, 4, 8, 100, 1000)))
    piece = rng.choice((b"", 2 * content[start:end], rng.randbytes(end - start + 1)))
    return content[:start] + piece + content[end:]


# -- model files -----------------------------------------------------------------------------------


def _opened(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError
    return header, content[8 + length :]


def _closed(header: str, arrays: bytes) -> bytes:
    text = header.encode(errors="replace")
    return struct.pack("<Q", len(text)) + text + arrays


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return all places in JSON, as (container, key)."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [(value, key) for key, _ in items] + [p for _, one in items for p in _places(one)]


def _change(value: Any, rng: random.Random) -> None:
    """Change something in JSON: another value, a missing one, a further one."""
    places = _places(value)
    if not places:
        return
    container, key = rng.choice(places)
    if rng.random() < 0.15:
        del container[key]
    elif rng.random() < 0.1 and isinstance(container, dict):
        container[rng.choice(("more", "best.x", "format"))] = rng.choice(_ODD)
    elif rng.random() < 0.2:
        other, name = rng.choice(places)
        container[key] = json.loads(json.dumps(other[name])) if other else None
    else:
        container[key] = rng.choice(_NUMBERS if rng.random() < 0.6 else _ODD)


def _header(content: bytes, rng: random.Random) -> bytes:
    """Change the table of arrays."""
    try:
        header, arrays = _opened(content)
        _change({name: item for name, item in header.items() if name != "__metadata__"}, rng)
        return _closed(json.dumps(header), arrays)
    except (ValueError, RecursionError, struct.error, IndexError, KeyError):
        return content


def _metadata(content: bytes, rng: random.Random) -> bytes:
    """Change the parameters, or what was fitted."""
    try:
        header, arrays = _opened(content)
        metadata = header["__metadata__"]
        name = rng.choice([*metadata, "parameters", "fitted", "fitted"])
        if name in ("parameters", "fitted"):
            items = json.loads(metadata[name])
            for _ in range(rng.choice((1, 1, 2))):
                _change(items, rng)
            metadata[name] = json.dumps(items)
        else:
            metadata[name] = rng.choice(("", "2", "Model", "Classifier", "-1", "backcast", "x"))
        return _closed(json.dumps(header), arrays)
    except (ValueError, TypeError, RecursionError, struct.error, IndexError, KeyError):
        return content


def _nested(content: bytes, rng: random.Random) -> bytes:
    """Nest JSON deeply, in the header or in a text of it."""
    deep = rng.choice(("[", '{"a":')) * rng.choice((100, 1000, 100_000))
    try:
        header, arrays = _opened(content)
        if rng.random() < 0.3:
            return _closed(deep, arrays)
        header["__metadata__"][rng.choice(("parameters", "fitted"))] = deep
        return _closed(json.dumps(header), arrays)
    except (ValueError, TypeError, RecursionError, struct.error, KeyError):
        return content


def _weights(content: bytes, rng: random.Random) -> bytes:
    """Put odd numbers among the weights."""
    try:
        start = len(content) - len(_opened(content)[1])
    except (ValueError, RecursionError, struct.error):
        return content
    places = (len(content) - start) // 4
    if places < 1:
        return content
    at = start + 4 * rng.randrange(places)
    odd = struct.pack("<f", rng.choice((float("nan"), float("inf"), -3e38, 1e-45, 0.0)))
    return content[:at] + odd + content[at + 4 :]


# -- arrays ----------------------------------------------------------------------------------------


def _text(content: bytes, rng: random.Random) -> bytes:
    """Change the header of a .npy file, which is a literal of Python."""
    end = content.find(b"}", 0, 1000)
    if end < 12:
        return content
    text = content[10 : end + 1].decode("latin1")
    old, new = rng.choice(
        (
            ("|u1", rng.choice(("|O", "<f8", "|V9", "(2,)u1", "\\", "u1,u1", "<U99", "M8[s]"))),
            ("(20", rng.choice(("(-20", "(20.0", "(" * 200, "(2**9", "('", "(1e400", "([20]"))),
            ("False", rng.choice(("True", "None", "f()", "__import__('os')", '"', "'''", "0"))),
            (", ", rng.choice((",", "\n", "\t, ", "\0", ",,"))),
            ("}", rng.choice(("", "}}", "} + 1", "\\", "]", ")"))),
            ("'", rng.choice(('"', "", "''", "b'"))),
            ("4", rng.choice(("99999999999999999999", "0", "-1", "4L", "0x4", "4j"))),
        )
    )
    return content[:10] + text.replace(old, new, 1).encode("latin1") + content[end + 1 :]


def _idx(content: bytes, rng: random.Random) -> bytes:
    """Change an IDX file's dtype, rank and sizes."""
    head = bytearray(content[:16].ljust(16, b"\0"))
    if rng.random() < 0.4:
        head[2] = rng.choice((8, 9, 11, 12, 13, 14, 15, 0))
    if rng.random() < 0.4:
        head[3] = rng.choice((0, 1, 2, 3, 4, 32, 33, 64, 65, 255))
    if rng.random() < 0.5:
        at = rng.choice((4, 8, 12))
        head[at : at + 4] = struct.pack(">I", rng.choice((0, 1, 3, 2**16, 2**31, 2**32 - 1)))
    more = rng.randbytes(rng.choice((0, 0, 1000)))
    return bytes(head) + content[16:] + more


def _packed(content: bytes, rng: random.Random) -> bytes:
    """Compress, also many more zeros than there should be."""
    more = b"\0" * rng.choice((0, 1, 10**6, 3 * 10**8 if rng.random() < 0.02 else 10**5))
    return gzip.compress(content + more, rng.choice((1, 6)))
