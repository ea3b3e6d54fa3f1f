"""A data set of Hugging Face `datasets` on disk, as `save_to_disk` leaves it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from privfedmm.data.layouts.items import add_items, empty_items
from privfedmm.data.layouts.layout import Layout
from privfedmm.data.raw import SPLITS, DataError, Origin, Raw, Reading, Table, read_rows

_STATE, _PARTS = "state.json", "dataset_dict.json"
_SPLIT = "split"


def _recognises(folder: Path) -> bool:
    return (folder / _PARTS).is_file() or (folder / _STATE).is_file()


def _read(folder: Path, reading: Reading) -> Raw:
    if not (folder / _PARTS).is_file():
        tables, how = _tables(folder, folder, reading), "one data set"
    else:
        names = _json(folder / _PARTS).get("splits", [])
        known = len(names) > 1 and all(name.lower() in SPLITS for name in names)
        if len(names) > 1 and not known:
            raise DataError(f"{folder.name} holds the parts {', '.join(names)}, of which not all "
                            f"are one of {', '.join(sorted(SPLITS))}; give the folder of one part")
        tables = [_marked(table, name) if known else table
                  for name in names for table in _tables(folder / name, folder, reading)]
        how = f"the parts {', '.join(names)}" + (" are the given split" if known else "")
    if not tables:
        raise DataError(f"{folder.name} holds no rows; save the data set again")
    first = tables[0]
    whole = pd.concat([table.frame for table in tables], ignore_index=True)
    name = first.origin.name + (" and the files after it" if len(tables) > 1 else "")
    origin = Origin(name, first.origin.place, first.origin.word, 0)
    rows = Table(whole, first.columns, origin, f"datasets on disk, {how}").checked(reading)
    raw = Raw(folder.name, name, rows.frame, empty_items(rows.frame),
              lines=list(rows.lines), everyone=rows.everyone)
    if add_items(folder, raw, reading):
        raw.catalogue = raw.items
    return raw


def _tables(folder: Path, whole: Path, reading: Reading) -> list[Table]:
    """The tables of the files that a data set says it has, in its order. Raises DataError."""
    files = [entry.get("filename", "") for entry in _json(folder / _STATE).get("_data_files", [])]
    for name in files:
        if not (folder / name).is_file():
            raise DataError(f"{whole.name} says in {folder.name}/{_STATE} that it has the file "
                            f"{name}, which is not there; copy the whole folder")
    return [read_rows(folder / name, reading) for name in files]


def _marked(table: Table, part: str) -> Table:
    """The table with its part as the split, where it has no column of it itself."""
    if _SPLIT in table.columns.found:
        return table
    columns = replace(table.columns, found={**table.columns.found, _SPLIT: _SPLIT})
    return replace(table, frame=table.frame.assign(**{_SPLIT: part}), columns=columns)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.parent.name}/{path.name} cannot be read ({error}); save the data "
                        "set again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path.parent.name}/{path.name} is no JSON object; save the data set "
                        "again")
    return found


ON_DISK = Layout(
    name="datasets",
    summary="state.json or dataset_dict.json and .arrow files, as save_to_disk of Hugging Face "
            "datasets writes them",
    reference="Lhoest et al., Datasets: A Community Library for NLP, EMNLP 2021",
    recognises=_recognises,
    read=_read,
    files=(_STATE, _PARTS),
)
