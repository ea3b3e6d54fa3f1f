"""Messages as a liar would send them: bits, cuts, other types, huge lengths, deep nesting."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import msgpack

DEEP: Any = []
for _ in range(100):
    DEEP = [DEEP]
HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, -3, 2**31, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, math.nan, math.inf, 1e308,
    "", "x", "map", "x" * 5000, b"", b"\0", bytes(31), bytes(5000), [], [[]], ["list"], ["map", 3],
    ["map", [[["list"], 1]]], ["tensor", "float32", [-1], b""], ["array", "int64", [2**40], b"x"],
    ["data", "Message", ["list", 1]], ["data", "Message", 3], ["data", [], {}], ["tuple", 1, 2],
    {}, {"a": 1}, {1: {2: {}}}, list(range(3000)), DEEP)
BOMBS = (b"\xdd\xff\xff\xff\xff" * 200, b"\xdf\xff\xff\xff\xff" * 200, b"\x91" * 5000,
         b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xdd\x00\x0f\xff\xff" * 900, b"")


def mutated(rng: random.Random, body: bytes) -> bytes:
    """Some other bytes than an honest body; now and then what it stands for is the same."""
    way = rng.randrange(8)
    if way == 0:
        return bytes(rng.choice(BOMBS))
    if way == 1:
        return body[:rng.randrange(len(body) + 1)]
    if way == 2:
        return body + body
    if way == 3:
        at, length = rng.randrange(len(body) + 1), rng.randrange(40)
        return body[:at] + rng.randbytes(length) + body[at + rng.randrange(40):]
    if way == 4:
        out = bytearray(body or b"\0")
        for _ in range(rng.randrange(1, 9)):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        return bytes(out)
    return restructured(rng, body)


def restructured(rng: random.Random, body: bytes) -> bytes:
    """The same MessagePack tree with one or two values in it replaced, doubled or left out."""
    try:
        tree = msgpack.unpackb(body, raw=False, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        return rng.randbytes(rng.randrange(60))
    for _ in range(rng.randrange(1, 3)):
        tree = _bent(rng, tree, _places(tree))
    try:
        packed: bytes = msgpack.packb(tree, use_bin_type=True)
    except (ValueError, OverflowError):
        return bytes(rng.choice(BOMBS))  # nested too deep to be written
    return packed


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a tree."""
    out: list[tuple[Any, Any]] = []
    left = [tree]
    while left:
        held = left.pop()
        keys = range(len(held)) if isinstance(held, list) else list(held) if (
            isinstance(held, dict)) else ()
        out += [(held, key) for key in keys]
        left += [held[key] for key in keys]
    return out


def _bent(rng: random.Random, tree: Any, places: list[tuple[Any, Any]]) -> Any:
    if not places or rng.random() < 0.02:
        return copy.deepcopy(rng.choice(HOSTILE))
    held, key = rng.choice(places)
    way = rng.randrange(5)
    if way == 0 and isinstance(held, list):
        held.insert(key, held[key])
    elif way == 1:
        del held[key]
    elif way == 2:
        other, place = rng.choice(places)
        # A copy: a tree that holds itself has no bytes.
        held[key] = msgpack.unpackb(msgpack.packb(other[place]), strict_map_key=False) if (
            place in (other if isinstance(other, dict) else range(len(other)))) else None
    else:
        held[key] = copy.deepcopy(rng.choice(HOSTILE))
    return tree
