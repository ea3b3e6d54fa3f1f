"""Lists of names in the cells of an item table: genres, categories, brands and their like."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy import sparse

from privfedmm.data.raw.columns import key

# The preferred one first: it wins where two separate as many cells.
_SEPARATORS = ("\n", "|", ";", ">", ",")
_QUOTED = r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\''
_STRINGS = re.compile(_QUOTED)
_NAMED = re.compile(rf"[\"']name[\"']\s*:\s*({_QUOTED})")
_NOTHING = frozenset(("", "nan", "none", "null", "n/a", "na", "unknown", "(no genres listed)"))
# Whose names are single words where a format has blanks between them, as RecBole's and
# MovieLens's have; names of people and firms are never cut at blanks.
_IN_WORDS = frozenset((
    "genres", "genre", "categories", "category", "tags", "tag", "class", "keywords", "keyword",
    "topics", "topic", "moods", "mood", "styles", "style", "themes", "theme"))


def names_of(column: pd.Series, name: str) -> sparse.csr_matrix:
    """Return which cell of a column holds which names: [cells, names] of 0 and 1.

    name: of the column. Names count without regard to case and stand in the order of the alphabet.
    They are told apart by the one of line breaks, bars, semicolons, > and commas that most cells
    have; lists in brackets, of texts or of objects with a `name`, by their quotation marks; and
    where nothing of that is there, words by blanks, if that makes no more names.
    """
    which, cells = pd.factorize(column.fillna("").astype(str))
    texts = [text.strip() for text in cells]
    listed = [_in_brackets(text) for text in texts]
    counts = np.bincount(which, minlength=len(texts))
    separator = "\n" if any(one is not None for one in listed) else _separator(texts, counts)
    lists = [one if one is not None else text.split(separator) if separator else [text]
             for text, one in zip(texts, listed, strict=True)]
    named = [_clean(one) for one in lists]
    if separator is None and key(name) in _IN_WORDS:
        words = [_clean(text.split()) for text in texts]
        if len(set().union(*words)) <= len(set().union(*named)):
            named = words
    names = sorted(set().union(*named)) if named else []
    number = {one: n for n, one in enumerate(names)}
    columns = np.array([number[one] for some in named for one in sorted(some)], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum([len(some) for some in named], dtype=np.int64)])
    distinct = sparse.csr_matrix(
        (np.ones(len(columns)), columns, starts), shape=(len(texts), len(names)))
    return distinct[which]


def _separator(texts: list[str], counts: np.ndarray) -> str | None:
    """The separator that most cells have; counts: how often each text stands there."""
    having = [int(counts[[mark in text for text in texts]].sum()) for mark in _SEPARATORS]
    return _SEPARATORS[int(np.argmax(having))] if max(having) else None


def _in_brackets(text: str) -> list[str] | None:
    """The names of a list as JSON or Python writes it; None for what is no such list."""
    if not (text.startswith(("[", "{")) and text.endswith(("]", "}"))):
        return None
    found = _NAMED.findall(text) if "{" in text else _STRINGS.findall(text)
    if found:
        return [re.sub(r"\\(.)", r"\1", one[1:-1]) for one in found]
    return text[1:-1].split(",")


def _clean(names: list[str]) -> set[str]:
    return {" ".join(name.split()).casefold() for name in names} - _NOTHING
