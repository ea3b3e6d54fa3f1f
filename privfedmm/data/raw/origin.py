"""Where a table comes from, for sentences about one of its lines."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from privfedmm.data.raw.errors import DataError


@dataclass(frozen=True)
class Origin:
    """An origin says where a table comes from, for sentences about it.

    name: the name of the file or table. place: how to point into it, with {name}, {line} and
    {column}. word: what one of its lines is called. first: the number of the row labelled 0, which
    in a file with a header is line 2.
    """

    name: str
    place: str = "{name} line {line}"
    word: str = "line"
    first: int = 2

    def at(self, line: int, column: str) -> str:
        """Return the words that point to a line and column."""
        return self.place.format(name=self.name, line=line, column=column)

    def refuse(self, bad: pd.Series, lines: pd.Series, column: str, what: str, fix: str) -> None:
        """Refuse the first of the rows that are `bad`; both series share an index.

        what, fix: what such a row holds and what to do. Raises DataError.
        """
        if bad.any():
            raise DataError(f"{self.at(lines[bad].iloc[0], column)} holds {what}; {fix}")
