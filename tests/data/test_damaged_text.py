"""Text that is damaged anywhere is refused in a sentence, or read; it never ends in a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from privfedmm.data import DataError, load
from tests.small_tables import delimited, jsonl

FILES = {
    "a.csv": delimited(","), "b.csv": delimited(";"), "a.tsv": delimited("\t"),
    "a.txt": delimited("|"), "a.dat": delimited("::"), "a.jsonl": jsonl(),
    "u.data": delimited("\t", None), "ratings.dat": delimited("::", None),
    "a.inter": delimited("\t", "user_id:token item_id:token rating:float timestamp:float"),
}
PIECES = (b'"', b",", b"\t", b"\n", b"\r", b"\0", b"\xff", b"::", b";", b"|", b"-", b"{", b"}",
          b" ", b"", b'""', b"nan", b"1e400", b"2020-01-01T00:00:00Z", b"\xef\xbb\xbf", b"9" * 30)
TIMES = 30


@pytest.mark.parametrize("name", FILES)
def test_damage_anywhere_is_refused_or_read(name: str, tmp_path: Path) -> None:
    draw, path = random.Random(name), tmp_path / name
    refused = 0
    for _ in range(TIMES):
        text = bytearray(FILES[name].encode())
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            start = draw.randrange(len(text))
            text[start:start + draw.choice((0, 0, 1, 2, 10, 200))] = draw.choice(PIECES)
        path.write_bytes(bytes(text))
        try:
            load(str(path), k_core=0, seed=0)
        except DataError as error:
            refused += 1
            assert "\n" not in str(error) and path.stem in str(error)
    assert refused  # most of it shows
