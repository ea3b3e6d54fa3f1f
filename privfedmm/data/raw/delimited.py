"""Text files with a separator between fields: which one, how many fields, and where a line is
broken.

The whole file is read by pandas at once. Only where that shows a fault is the file gone through
line by line, to say where.
"""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from privfedmm.data.raw.columns import plain, roles
from privfedmm.data.raw.errors import DataError

# In this order where nothing else tells which it is.
SEPARATORS = {"::": "double colons", "\t": "tabs", "|": "bars", ";": "semicolons", ",": "commas"}
_LOOKED_AT = 20  # lines
_SPARE = "\0spare"  # beyond the last column: empty where all lines end in a separator


def head(path: Path, count: int = _LOOKED_AT) -> list[str]:
    """Return the first lines of a file, gzip or not, without their ends or a byte order mark.

    Raises DataError where it cannot be read.
    """
    out: list[str] = []
    try:
        with opened(path) as lines:
            for line in lines:
                out.append(line.decode("utf-8", "surrogateescape").rstrip("\r\n"))
                if len(out) == count:
                    break
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(_unreadable(path, error)) from error
    if out:
        out[0] = out[0].removeprefix("\ufeff")
    # Lines that end in a carriage return alone come as one.
    return out[0].split("\r")[:count] if len(out) == 1 and "\r" in out[0] else out


def opened(path: Path) -> Any:
    """Open a file for bytes, unpacked where it is gzip whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


def separator_of(lines: Sequence[str], name: str) -> str:
    """Return the separator of the first lines of a table.

    It is the one that shows most of the columns that are known; where none shows any, the first
    that cuts all lines into equally many fields. name: of the file. Raises DataError for none.
    """
    if not lines:
        raise DataError(f"{name} is empty; it needs a line of column names, and one line an "
                        "interaction or item below it")
    known = {s: len(roles(split_line(lines[0], s))) for s in SEPARATORS}
    best = max(SEPARATORS, key=lambda s: (known[s], len(split_line(lines[0], s))))
    if known[best] and len(split_line(lines[0], best)) > 1:
        return best
    for separator in SEPARATORS:
        fields = {len(split_line(line, separator)) for line in lines if line.strip()}
        if len(fields) == 1 and fields.pop() > 1:
            return separator
    if known[best]:
        return best  # a table of one column
    raise DataError(f"{name}: its first line, {lines[0][:60]!r}, has none of the separators "
                    f"{', '.join(SEPARATORS.values())} that its other lines have too; save it as a "
                    "table with one of them")


def split_line(line: str, separator: str) -> list[str]:
    """Return the fields of one line; quotation marks that stay open are letters."""
    if len(separator) > 1 or separator == "\t":
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [""])
    except csv.Error:
        return line.split(separator)


def read_table(
    path: Path, separator: str | None = None, lenient: bool = False,
    names: Sequence[str] | None = None, lines_in_fields: bool = False, latin: bool = False,
) -> pd.DataFrame:
    """Read a table of text without blank lines; the row labelled n is line n + 2.

    separator: None to find it. lenient: bytes that are not UTF-8 become lone surrogates, for the
    caller to find. names: of the columns of a file that has no line of them; the row labelled n is
    line n + 1 then. lines_in_fields: whether a quoted field may run over several lines. latin:
    bytes that are not UTF-8 are Latin-1, as in the older MovieLens files. Raises DataError where
    the file cannot be read as one.
    """
    first = head(path)
    separator = separator or separator_of(first, path.name)
    columns = list(names) if names else _names(first[0] if first else "", separator, path.name)
    try:
        table = _parse(path, separator, columns, bool(names), lenient, latin)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} line {_undecodable_line(path)} is not UTF-8 text; "
                        "save the file as UTF-8 and try again") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(_unreadable(path, error)) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        _refuse_broken(path, separator, len(columns), lines_in_fields)
        raise DataError(_unreadable(path, error)) from error
    if table[_SPARE].ne("").any():
        _refuse_broken(path, separator, len(columns), lines_in_fields)
    table = table.drop(columns=_SPARE)
    if not lines_in_fields and separator in ",;|":
        marks, lines = _count(path)
        if marks and lines > len(table) + (not names):
            _refuse_broken(path, separator, len(columns), lines_in_fields)
    blank = table.iloc[:, 0] == ""
    blank[blank] = (table[blank] == "").all(axis=1)
    return table[~blank]


def _names(line: str, separator: str, name: str) -> list[str]:
    names = [plain(field) for field in split_line(line, separator)]
    while len(names) > 1 and not names[-1]:
        names.pop()  # the line ends in a separator
    names = [field or f"column {place}" for place, field in enumerate(names, start=1)]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise DataError(f"{name} line 1 names two columns {twice!r}; rename one of them")
    return names


def _parse(
    path: Path, separator: str, columns: list[str], headless: bool, lenient: bool, latin: bool
) -> pd.DataFrame:
    """All lines at once. Two colons are one colon with an empty column between."""
    gaps = [f"\0gap {n}" for n in range(len(columns))] if separator == "::" else []
    every = [n for pair in zip(columns, gaps, strict=True) for n in pair] if gaps else columns
    # In tab-separated files a quotation mark is a letter like any other.
    quoting = csv.QUOTE_MINIMAL if separator in ",;|" else csv.QUOTE_NONE
    with warnings.catch_warnings(), opened(path) as file:
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(
            # pandas' own text cannot hold lone surrogates where pyarrow is installed.
            file, sep=":" if gaps else separator, dtype=object if lenient else str,
            keep_default_na=False, header=None,
            names=[*every, _SPARE], index_col=False, skiprows=0 if headless else 1,
            quoting=quoting, skip_blank_lines=False, encoding="latin-1" if latin else "utf-8",
            encoding_errors="surrogateescape" if lenient else "strict")
    if headless and len(table):
        corner = str(table.iat[0, 0])
        table.iat[0, 0] = corner.removeprefix("\ufeff")
    for gap in gaps:
        if table[gap].ne("").any():
            raise pd.errors.ParserError("a single colon stands within a field")
    # A whole column is read as missing where no line has that many fields.
    table = table.drop(columns=gaps).fillna("")
    return table if lenient else table.astype(str)


def _count(path: Path) -> tuple[int, int]:
    """Quotation marks and lines of a file; lines that end in a carriage return alone are one."""
    marks, lines, last = 0, 0, b"\n"
    with opened(path) as file:
        while block := file.read(2**22):
            marks, lines, last = marks + block.count(b'"'), lines + block.count(b"\n"), block[-1:]
    return marks, lines + (last != b"\n")


def _refuse_broken(path: Path, separator: str, columns: int, lines_in_fields: bool) -> None:
    """Go through the file and refuse its first line that does not fit. Raises DataError."""
    for number, fields, whole in _lines(path, separator, lines_in_fields):
        if not whole:
            raise DataError(f"{path.name} line {number} opens a quotation mark that is not closed "
                            "on that line, so the lines after it would be read as one field; "
                            "close it or take it out")
        extra = [field for field in fields[columns:] if field.strip()]
        if extra or len(fields) > columns + 1:
            raise DataError(f"{path.name} line {number} has {len(fields)} fields, but {columns} "
                            f"columns are named; name the column, or put a text that holds the "
                            "separator in quotation marks")


def _lines(
    path: Path, separator: str, lines_in_fields: bool
) -> Iterator[tuple[int, list[str], bool]]:
    """Number, fields, and whether no quotation mark stays open, of each line or record."""
    with opened(path) as file:
        text = (line.decode("utf-8", "surrogateescape") for line in file)
        if separator not in ",;|":
            for number, line in enumerate(text, start=1):
                yield number, line.rstrip("\r\n").split(separator), True
        elif lines_in_fields:
            reader, begins = csv.reader(text, delimiter=separator, strict=True), 1
            try:
                for fields in reader:
                    yield begins, fields, True
                    begins = reader.line_num + 1
            except csv.Error:
                yield begins, [], False
        else:
            for number, line in enumerate(text, start=1):
                try:
                    fields = next(csv.reader([line.rstrip("\r\n")], delimiter=separator,
                                             strict=True), [])
                except csv.Error:
                    yield number, [], False
                else:
                    yield number, fields, True


def _unreadable(path: Path, error: Exception) -> str:
    return (f"{path.name} cannot be read as a table ({str(error).strip()}); check that it is whole "
            "and that its lines have equally many columns")


def _undecodable_line(path: Path) -> int:
    """Number of the first line that is not UTF-8."""
    with opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
