"""One small set of interactions, and files of it in the formats that people have."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

USERS, ITEMS, EACH = 6, 9, 5
START = 1_500_000_000  # in 2017
# '007' and '7' are two users.
NAMES = ("007", "7", "12", "30", "31", "32")


def rows() -> pd.DataFrame:
    """Every user has EACH items; the table is not in the order of time."""
    table = pd.DataFrame(
        [(NAMES[u], str((u + k * (1 + u % 2)) % ITEMS), 1 + (u + k) % 5, START + 3600 * k + u)
         for u in range(USERS) for k in range(EACH)],
        columns=["user_id", "item_id", "rating", "timestamp"])
    return table.sample(frac=1, random_state=1).reset_index(drop=True)


def delimited(separator: str, header: str | None = "user_id item_id rating timestamp") -> str:
    lines = [] if header is None else [separator.join(header.split())]
    lines += [separator.join(map(str, row)) for row in rows().itertuples(index=False)]
    return "\n".join(lines) + "\n"


def jsonl(**names: str) -> str:
    """JSON lines with these names for our columns, and keys that nobody reads."""
    called = {"user_id": "user_id", "item_id": "item_id", "rating": "rating",
              "timestamp": "timestamp", **names}
    return "".join(json.dumps({
        **{called[name]: value for name, value in row.items()}, "verified": True,
        "images": [{"url": "x"}]}) + "\n" for row in rows().to_dict("records"))


def parquet(path: Path, table: pd.DataFrame | None = None) -> None:
    """A parquet file of the rows; the caller has seen to it that pyarrow is there."""
    import pyarrow
    import pyarrow.parquet

    whole = rows() if table is None else table
    pyarrow.parquet.write_table(pyarrow.Table.from_pydict(columns_of(whole)), path)


def columns_of(table: pd.DataFrame) -> dict[str, Any]:
    """Columns as lists, ids as text."""
    return {name: table[name].tolist() for name in table.columns}


def save_to_disk(folder: Path, table: pd.DataFrame) -> None:
    """A folder as `Dataset.save_to_disk` of Hugging Face `datasets` leaves it: an Arrow stream and
    its state."""
    import pyarrow
    import pyarrow.ipc

    folder.mkdir(parents=True)
    name = "data-00000-of-00001.arrow"
    whole = pyarrow.Table.from_pydict(columns_of(table))
    with pyarrow.OSFile(str(folder / name), "wb") as out, \
            pyarrow.ipc.new_stream(out, whole.schema) as stream:
        stream.write_table(whole)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({
        "_data_files": [{"filename": name}], "_fingerprint": "0", "_format_type": None}))


def packed(text: str) -> bytes:
    return gzip.compress(text.encode())


Write = Callable[[Path], Path]


def written(name: str, content: str | bytes) -> Write:
    """A function that writes one file into a folder and returns its path."""
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
