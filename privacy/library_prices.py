"""Prices that a library computes: by privacy loss distributions, Renyi divergences, and PRV."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from privacy.charged import Joint
from privacy.events import PricingError, event_named, events_of
from privacy.extras import MissingExtra, need

_ORDERS = np.concatenate([np.linspace(1.02, 12, 110), np.arange(12.5, 65, 0.5), 2.0 ** np.arange(
    6.25, 12.1, 0.25)])


def _runs(steps: Sequence[Joint]) -> list[tuple[Joint, int]]:
    counts: dict[Joint, int] = {}
    for step in steps:
        counts[step] = counts.get(step, 0) + step.steps
    return list(counts.items())


# The library takes a second to import, and a node of a deployment starts a process per message:
# whoever prices nothing does without it.


def pld_price(steps: Sequence[Joint], delta: float) -> float:
    """Return epsilon by privacy loss distributions."""
    from dp_accounting import pld

    accountant = pld.PLDAccountant()
    for step, times in _runs(steps):
        accountant.compose(event_named(step.event).library_event(step), times)
    return float(accountant.get_epsilon(delta))


def _curves(steps: Sequence[Joint], delta: float) -> float | None:
    """Renyi divergences of the rounds, added up order by order, then converted.

    None where no event has a curve of its own. Raises PricingError where only some have one.
    """
    curves = [(event_named(step.event).curve(step, _ORDERS), times)
              for step, times in _runs(steps)]
    own = [(curve, times) for curve, times in curves if curve is not None]
    if not own:
        return None
    if len(own) < len(curves):
        raise PricingError("releases with Renyi curves of their own cannot be priced with others")
    total = np.zeros(len(_ORDERS))
    for curve, times in own:
        total += times * curve
    if not np.isfinite(total).all():
        return math.inf
    from dp_accounting import rdp

    price, _ = rdp.compute_epsilon(_ORDERS, total, delta)
    return float(price)


def rdp_price(steps: Sequence[Joint], delta: float) -> float:
    """Return epsilon by Renyi divergences. Raises PricingError for curves that do not add up."""
    price = _curves(steps, delta)
    if price is not None:
        return price
    from dp_accounting import NeighboringRelation, rdp

    replaced = any(event.replace_one for event in events_of(steps))
    accountant = rdp.RdpAccountant(neighboring_relation=(
        NeighboringRelation.REPLACE_ONE if replaced
        else NeighboringRelation.ADD_OR_REMOVE_ONE))
    with _quiet():
        for step, times in _runs(steps):
            accountant.compose(event_named(step.event).library_event(step), times)
    return float(accountant.get_epsilon(delta))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library from warning of every order whose series does not converge: it is left out
    of the minimum, which stays a bound."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def prv_price(steps: Sequence[Joint], delta: float) -> float:
    """Return epsilon by Opacus' accountant. Raises PricingError where it is not there, or has none
    at this delta."""
    try:
        accountants = need("opacus.accountants", "dpsgd", "the PRV accountant")
    except MissingExtra as error:
        raise PricingError(str(error)) from error
    accountant = accountants.PRVAccountant()
    accountant.history = [
        (1 / event_named(step.event).mu(step), step.sampling_rate, times)
        for step, times in _runs(steps)
    ]
    try:
        # At a sampling rate of 1 the library takes the logarithm of 0, on purpose. It warns where
        # its Renyi bound, which only says how wide a grid must be, could be tighter.
        with np.errstate(divide="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
            return float(accountant.get_epsilon(delta))
    except ValueError as error:
        raise PricingError(f"PRV has no price at delta {delta:g}: {error}") from error
