"""MovieLens as GroupLens packs it: ratings.csv and movies.csv, ratings.dat and movies.dat, or
u.data and u.item."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from privfedmm.data.layouts.items import add_items, empty_items, item_file
from privfedmm.data.layouts.layout import Layout
from privfedmm.data.raw import DataError, Line, Origin, Raw, Reading, items_by_id, read_rows
from privfedmm.data.raw.delimited import head, read_table, separator_of

# Ratings -> items. Those of .dat and u.item have no line of names.
_FILES = {"ratings.csv": "movies.csv", "ratings.csv.gz": "movies.csv", "ratings.dat": "movies.dat",
          "u.data": "u.item"}
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western")
_HEADLESS = {
    "movies.dat": ("movie_id", "title", "genres"),
    "u.item": ("movie_id", "title", "release_date", "video_release_date", "url", *_GENRES),
}


def _recognises(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _FILES)


def _read(folder: Path, reading: Reading) -> Raw:
    name, *second = [name for name in _FILES if (folder / name).is_file()]
    if second:
        raise DataError(f"{folder.name} holds both {name} and {second[0]}; keep one of them, or "
                        "give the file itself as --dataset")
    rows = read_rows(folder / name, reading).checked(reading)
    raw = Raw(folder.name, name, rows.frame, empty_items(rows.frame), lines=list(rows.lines),
              everyone=rows.everyone)
    films = folder / _FILES[name]
    table = films_of(films) if films.is_file() and item_file(folder) is None else None
    if table is not None:
        raw.item_source = films.name
        raw.lines.append(Line("content", f"titles and genres of {len(table):,} films from "
                              f"{films.name}"))
    if add_items(folder, raw, reading, table):
        raw.catalogue = raw.items
        unknown = ~raw.frame["item"].isin(raw.items.index)
        if unknown.any():
            row = raw.frame[unknown].iloc[0]
            raise DataError(f"{name} line {row['line']}: item {row['item']} is not in "
                            f"{raw.item_source}; add it there or delete the line")
    return raw


def films_of(path: Path) -> pd.DataFrame:
    """Return titles and genres as words, indexed by film. Raises DataError.

    The older files are Latin-1.
    """
    names = _HEADLESS.get(path.name)
    separator = separator_of(head(path), path.name)
    latin = names is not None and not _is_utf8(path)
    if names is None or separator != "::":
        table = read_table(path, separator, names=names, lines_in_fields=True, latin=latin)
    else:
        table = _double_colons(path, names, "latin-1" if latin else "utf-8")
    first = 2 if names is None else 1
    if "genres" not in table.columns:
        flags = table[list(_GENRES)]
        table = table[["movie_id", "title"]].assign(genres=[
            " ".join(g for g, flag in zip(_GENRES, row, strict=True) if flag.strip() == "1")
            for row in flags.itertuples(index=False)])
    key = next((c for c in table.columns if c.lower().replace("_", "") == "movieid"), None)
    if key is None:
        raise DataError(f"{path.name} has no column movieId; its columns are "
                        f"{', '.join(table.columns)}")
    lines = pd.Series(table.index + first, index=table.index)
    out = items_by_id(table, lines, Origin(path.name), key)
    return out.assign(genres=out["genres"].str.replace("|", " ", regex=False)
                      .replace("(no genres listed)", ""))


def _double_colons(path: Path, names: tuple[str, ...], encoding: str) -> pd.DataFrame:
    """Titles hold single colons, so the fields of each line are cut in Python; films are few."""
    rows = []
    for number, line in enumerate(path.read_text(encoding=encoding).splitlines(), start=1):
        fields = line.split("::")
        if len(fields) != len(names):
            raise DataError(f"{path.name} line {number} has {len(fields)} fields, but it needs "
                            f"{len(names)}: {', '.join(names)}; correct it")
        rows.append(fields)
    return pd.DataFrame(rows, columns=list(names), dtype=str)


def _is_utf8(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


MOVIELENS = Layout(
    name="MovieLens",
    summary="ratings.csv (maybe movies.csv), ratings.dat (movies.dat) or u.data (u.item)",
    reference="Harper and Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015",
    recognises=_recognises,
    read=_read,
    files=tuple(_FILES),
    lists_items=True,
)
