"""What an item table says beside texts, kinds of items and years, as a modality of its own.

It follows from the table of items alone, with never a look at who has which, so it costs no
privacy. With a catalogue it is the catalogue's, whatever rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from privfedmm.data.encoded import Encoding, encode_raw
from privfedmm.data.item_columns import KINDS, METADATA, TITLES, YEARS, known
from privfedmm.data.kinds import names_of
from privfedmm.data.raw import Line, Raw

# Of kinds: more names than that become as many components, with the years 128 columns at most.
_MOST_COLUMNS = 111
_MOST_NAMES = 8192
_BINS = 16
_TITLE_YEAR = r"\((1[5-9]\d\d|20\d\d)\)\s*$"
_ANY_YEAR = r"(?<!\d)(1[5-9]\d\d|20\d\d)(?!\d)"
_ISO = r"^(\d{4})-(\d{1,2})"
_SECONDS = 365.2425 * 86400  # a year


@dataclass(frozen=True)
class Metadata:
    """This is the metadata of a table of items.

    rows [items, F] float32, in the order of the table. present [items] bool: which items have any.
    note: what was read of which column, in words.
    """

    rows: np.ndarray
    present: np.ndarray
    note: str


def columns_of(table: pd.DataFrame) -> list[str]:
    """Return the columns of an item table that may become metadata, by their names."""
    return [*known(table.columns, KINDS), *known(table.columns, YEARS)]


def metadata_of(table: pd.DataFrame) -> Metadata | None:
    """Make features of the kinds and years of items; None where the table tells of neither.

    table: text, indexed by item id. Kinds are rows of names, each by the logarithm of its inverse
    frequency (Sparck Jones, A statistical interpretation of term specificity, 1972); of more than
    111 names the leading components. A year is where it stands among those of all items, in 17
    overlapping bins, so that neighbouring years are alike. Both have length 1, and neither is there
    where it tells nothing: names of one item alone or of all, ids, one year throughout. The order
    of the table matters to no bit.
    """
    order = np.argsort(table.index.to_numpy().astype(str), kind="stable")
    ordered = table.iloc[order]
    parts = [part for part in (_kinds(ordered), _years(ordered)) if part is not None]
    if not parts:
        return None
    rows = np.empty((len(table), sum(matrix.shape[1] for matrix, _, _ in parts)), np.float32)
    rows[order] = np.concatenate([matrix for matrix, _, _ in parts], axis=1)
    present = np.zeros(len(table), dtype=bool)
    present[order] = np.any([there for _, there, _ in parts], axis=0)
    rows[~present] = 0
    return Metadata(rows, present, ", ".join(says for _, _, says in parts))


def with_metadata(raw: Raw, wanted: bool) -> Raw:
    """Return the same data with the metadata of its items as a modality, where there is any.

    wanted: whether it is to be used; the summary names it either way. A file of features of that
    name wins.
    """
    table = raw.items if raw.catalogue is None else raw.catalogue
    columns = columns_of(table)
    if METADATA in raw.features or not len(table):
        return raw
    if not wanted:
        told = Line("content", f"{METADATA}: there, not used (encoders.metadata false)")
        return replace(raw, lines=[*raw.lines, told]) if columns else raw
    made = metadata_of(table)
    if made is None:
        return raw
    # Without a budget, rows may name items that the catalogue lacks: they have no metadata.
    beside = raw.items.index.difference(table.index)
    ids = np.concatenate([table.index.to_numpy().astype(str), beside.to_numpy().astype(str)])
    rows = np.concatenate([made.rows, np.zeros((len(beside), made.rows.shape[1]), np.float32)])
    present = np.concatenate([made.present, np.zeros(len(beside), dtype=bool)])
    lack = int((~present).sum())
    told = Line("content", f"{METADATA}: {made.note}; of {raw.item_source}"
                + (f", {lack:,} of {len(ids):,} items have none of it" if lack else ""),
                values={"metadata_columns": columns, "metadata_missing": lack})
    return replace(
        raw, features={**raw.features, METADATA: (ids, rows)},
        present=raw.present if present.all() else {**raw.present, METADATA: present},
        feature_notes={**raw.feature_notes, METADATA: made.note},
        unasked=raw.unasked | {METADATA}, lines=[*raw.lines, told])


def public_features(raw: Raw, how: Encoding) -> Raw:
    """Return the same data with all features that its items have: files, or encoded texts and
    pictures, and metadata. Raises DataError as `encode_raw` does."""
    return with_metadata(encode_raw(raw, how), how.settings.metadata)


_Part = tuple[np.ndarray, np.ndarray, str]  # [items, F], which items have it, and what it is


def _kinds(table: pd.DataFrame) -> _Part | None:
    """The names in all columns of kinds, each column with the same weight."""
    blocks, told = [], []
    for column in known(table.columns, KINDS):
        block = _weighted(names_of(table[column], column))
        if block is not None:
            blocks.append(block)
            told.append(f"{column} ({block.shape[1]:,} names)")
    if not blocks:
        return None
    whole = sparse.hstack(blocks, format="csr") / np.sqrt(len(blocks))
    there = np.diff(whole.indptr) > 0
    if whole.shape[1] <= _MOST_COLUMNS:
        return whole.toarray(), there, ", ".join(told)
    from sklearn.utils import extmath

    rank = min(_MOST_COLUMNS, *whole.shape)
    left, size, _ = extmath.randomized_svd(whole, rank, n_iter=7, random_state=0)
    return left * size, there, f"{', '.join(told)} in {rank} components"


def _weighted(names: sparse.csr_matrix) -> sparse.csr_matrix | None:
    """Rows of length 1 of the names that tell something [items, names]; None without any.

    names: 1 where an item has a name.
    """
    frequency = np.asarray(names.sum(axis=0)).ravel()
    described = int((np.diff(names.indptr) > 0).sum())
    telling = np.flatnonzero((frequency > 1) & (frequency < described))
    if not len(telling):
        return None
    if len(telling) > _MOST_NAMES:  # of equally frequent ones the first by alphabet
        telling = np.sort(telling[np.argsort(-frequency[telling], kind="stable")[:_MOST_NAMES]])
    kept = names[:, telling] @ sparse.diags(np.log(described / frequency[telling]))
    length = np.sqrt(np.asarray(kept.multiply(kept).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1)) @ kept)


def _years(table: pd.DataFrame) -> _Part | None:
    """Soft bins [items, bins] of the first column of years that tells something."""
    for column in known(table.columns, YEARS):
        part = _bins(years_in(table[column]), column)
        if part is not None:
            return part
    for column in known(table.columns, TITLES):
        found = table[column].str.extract(_TITLE_YEAR, expand=False)
        if found.notna().sum() * 2 > len(table):  # as MovieLens writes them
            return _bins(found.astype(float).to_numpy(), f"the year in {column}")
    return None


def years_in(column: pd.Series) -> np.ndarray:
    """Return the years of texts [n] float64, with their months where these are told; NaN for none.

    Years, ISO dates, 20240131, dates with a year of four digits in any order, and numbers of
    seconds or milliseconds since 1970 are known.
    """
    text = column.str.strip()
    number = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    number = np.where(np.isfinite(number), number, np.nan)
    packed = (number >= 1.5e7) & (number < 2.2e7)
    out = np.where((number >= 1500) & (number < 2200), np.floor(number), np.nan)
    out = np.where(packed, number // 1e4 + (number % 1e4 // 100 - 1) / 12, out)
    seconds = np.where(number >= 1e11, number / 1000, number)
    out = np.where((seconds >= 1e8) & (seconds < 7e9), 1970 + seconds / _SECONDS, out)
    iso = text.str.extract(_ISO).astype(float)
    out = np.where(np.isnan(number) & iso[0].notna(), iso[0] + (iso[1].clip(1, 12) - 1) / 12, out)
    loose = text.str.extract(_ANY_YEAR, expand=False).astype(float)
    return np.asarray(np.where(np.isnan(number) & np.isnan(out), loose, out), dtype=np.float64)


def _bins(years: np.ndarray, column: str) -> _Part | None:
    """Gaussian bins over the place of a year among those of all items; None for fewer than two."""
    there = ~np.isnan(years)
    different, which, counts = np.unique(years[there], return_inverse=True, return_counts=True)
    if len(different) < 2:
        return None
    place = ((np.cumsum(counts) - counts / 2) / counts.sum())[which]
    centres = np.linspace(0, 1, _BINS + 1)
    bins = np.zeros((len(years), len(centres)))
    bins[there] = np.exp(-0.5 * ((place[:, None] - centres) * _BINS) ** 2)
    bins[there] /= np.linalg.norm(bins[there], axis=1, keepdims=True)
    return bins, there, f"{column} ({_span(different)}, in soft bins)"


def _span(years: Iterable[float]) -> str:
    first, *_, last = (int(year) for year in years)
    return str(first) if first == last else f"{first} to {last}"
