"""What was read, dropped, filtered, ignored or guessed on the way to a data set, in eight lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from privfedmm.base.features import alike
from privfedmm.data.raw.reading import Line

# In this order; several lines of a kind are one sentence.
KINDS = ("read", "columns", "times", "ratings", "duplicates", "filter", "split", "content")


@dataclass(frozen=True)
class Summary:
    """A summary says how a data set came about.

    lines: at most one of each kind, in the order of `KINDS`. private: whether a budget protects the
    rows; then what follows from them is neither told nor recorded.
    """

    lines: tuple[Line, ...]
    private: bool = False

    @classmethod
    def of(cls, lines: Iterable[Line], private: bool) -> Summary:
        """Return a summary of lines in any order and number."""
        given = list(lines)
        kinds = [[line for line in given if line.kind == kind] for kind in KINDS]
        return cls(tuple(_joined(some) for some in kinds if some), private)

    def plus(self, *lines: Line) -> Summary:
        """Return the summary with more lines."""
        return self.of([*self.lines, *lines], self.private)

    def sentences(self) -> list[str]:
        """Return the lines as text, each beginning with its kind."""
        told = [(line.kind, line.text(self.private)) for line in self.lines]
        return [f"{kind:<11}{text}" for kind, text in told if text]

    def to_json(self) -> list[dict[str, Any]]:
        """Return kind, text and numbers of each line, for records; no numbers under a budget."""
        return [{"kind": line.kind, "text": line.text(self.private),
                 **({} if self.private else {"values": dict(line.values)})}
                for line in self.lines if line.text(self.private) or line.values]


def _joined(lines: list[Line]) -> Line:
    first, *more = lines
    for line in more:
        first = replace(
            first, says="; ".join(t for t in (first.says, line.says) if t),
            found="; ".join(t for t in (first.found, line.found) if t),
            values={**first.values, **line.values})
    return first


def core_line(k: int, before: tuple[int, int, int], after: tuple[int, int, int]) -> Line:
    """Return what a k-core filter left; before, after: users, items, interactions."""
    if k == 0:
        return Line("filter", "no filter (--k-core 0)", values={"k_core": 0})
    parts = ", ".join(
        f"{left:,} of {whole:,} {what}" for left, whole, what in zip(
            after, before, ("users", "items", "interactions"), strict=True))
    return Line("filter", f"{k}-core", f"{parts} are left", {
        "k_core": k, "before": list(before), "after": list(after)})


def row_lines(name: str, matrix: np.ndarray, present: np.ndarray | None) -> list[Line]:
    """Return what is odd about the rows of a modality, if anything: zeros and repetitions.

    matrix [items, F]; present [items] bool: items that have the modality, None for all.
    """
    rows = matrix if present is None else matrix[present]
    zero = int((~rows.any(axis=1)).sum())
    out = []
    if zero:
        out.append(Line(
            "content", f"{zero:,} of {len(rows):,} items have a row of zeros for {name}, which "
            f"counts as content: mark them missing in {name}_mask.npy if it stands for none",
            values={f"{name}_zero_rows": zero}))
    counts = alike(rows[rows.any(axis=1)])
    same = int(counts[counts > 1].sum())
    if same:
        out.append(Line(
            "content", f"{same:,} items share their {name} row with another ({len(counts):,} "
            "different rows)", values={f"{name}_shared_rows": same}))
    return out
