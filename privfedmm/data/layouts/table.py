"""One table of interactions under any name, alone or with items and features beside it."""

from __future__ import annotations

from pathlib import Path

from privfedmm.data.layouts.items import ITEM_FILES, empty_items
from privfedmm.data.layouts.layout import LAYOUTS, Layout
from privfedmm.data.layouts.ours import with_items
from privfedmm.data.raw import AS_IT_IS, DataError, Line, Raw, Reading, read_rows
from privfedmm.data.raw.columns import roles
from privfedmm.data.raw.files import ENDINGS, names_of, suffix_of

_NAME = "table"
_BESIDE = (*ITEM_FILES, "users.csv", "last_interaction.csv")


def tables_in(folder: Path, reading: Reading = AS_IT_IS) -> list[Path]:
    """Return the files of a folder whose columns name a user and an item, in order.

    reading: may say what their columns are called.
    """
    out = []
    for path in _tables(folder):
        names = names_of(path)
        told = {ours for ours, theirs in reading.columns.items() if theirs in names}
        if {"user", "item"} <= roles(names) | told:
            out.append(path)
    return out


def columns_in(folder: Path) -> dict[str, list[str]]:
    """Return the columns of each file of a folder that is a table of several columns, by name."""
    names = {path.name: names_of(path) for path in _tables(folder)}
    return {name: columns for name, columns in names.items() if len(columns) > 1}


def _tables(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir())
            if path.is_file() and suffix_of(path) in ENDINGS and path.name not in _BESIDE]


def _recognises(folder: Path) -> bool:
    """Whether no layout knows the folder by its files' names, and one of them is a table."""
    others = (layout for layout in LAYOUTS if layout.name != _NAME)
    return not any(layout.recognises(folder) for layout in others) and bool(tables_in(folder))


def _read(folder: Path, reading: Reading) -> Raw:
    path, *more = tables_in(folder, reading)
    if more:
        names = ", ".join(p.name for p in (path, *more))
        raise DataError(f"{folder.name} holds several tables of users and items ({names}); give "
                        f"one of them as --dataset {folder.name}/{path.name}, or call the one that "
                        "counts interactions.csv")
    return with_items(folder, path, reading)


def read_file(path: Path, reading: Reading) -> Raw:
    """Return the interactions of one file, and nothing of what lies beside it. Raises DataError."""
    if suffix_of(path) not in ENDINGS:
        raise DataError(f"{path.name} is no table that can be read here; its name must end in one "
                        f"of {', '.join(ENDINGS)} (or .gz of one)")
    rows = read_rows(path, reading).checked(reading)
    beside = [p.name for p in sorted(path.parent.iterdir())
              if p.name in _BESIDE or p.suffix == ".npy" or p.stem == "images"]
    lines = list(rows.lines)
    if beside:
        lines.append(Line("content", f"a file is read alone: not read are {', '.join(beside[:5])} "
                          "beside it; give the folder to have them"))
    return Raw(path.name.partition(".")[0], path.name, rows.frame, empty_items(rows.frame),
               lines=lines)


TABLE = Layout(
    name=_NAME,
    summary="one table of any name (" + ", ".join(ENDINGS) + ") whose columns name users and "
            "items, alone or with items.csv and MODALITY_feat.npy",
    reference="this project",
    recognises=_recognises,
    read=_read,
)
