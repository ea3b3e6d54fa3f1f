"""What a search costs: every look under a budget is a private run on the same users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from privfedmm.base.errors import UserError
from privfedmm.runs.account import Total, totals

UNCOVERED = ("choosing by validation metrics looks at users' held-out rows; no claim covers what "
             "the choice tells of them")


def price_of(lines: Sequence[Mapping[str, Any]]) -> Total | None:
    """Return what private runs on the same users cost together, by their lines of an account; None
    where they claim nothing. All are of one unit, which no search changes."""
    found = totals(lines)
    return found[0] if found else None


def said(price: Total | None, private: bool, looks: int) -> list[str]:
    """Return in sentences what a search costs. price: of all looks and the run that they lead to.
    private: whether there is a budget."""
    if not private:
        return []
    if price is None:
        return [f"the {looks} looks claim nothing: without noise, or with noise that follows from "
                "the seed, they protect nobody", UNCOVERED]
    return [f"{looks} looks and the run that they lead to are {price.line()}", UNCOVERED]


def accepted(price: Total | None, looks: int, accept: bool) -> None:
    """Raise UserError for a price that was not accepted."""
    if price is not None and not accept:
        raise UserError(
            f"tune: every look is a private run on the same users; {looks} looks and the run that "
            f"they lead to are {price.line()}, and {UNCOVERED}. Give --accept-price to pay that, "
            "fewer --trials to pay less, or tune on data of other users")
