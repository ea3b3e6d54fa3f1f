"""The clip norms of a run: the rule that a config sets, and whether the ledger followed it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from privacy import ChainError, ClipRule, Entry, Everyone
from privacy.adaptive import QUANTILE
from privfedmm.base.errors import UserError
from privfedmm.config.protection import DPSettings
from privfedmm.config.sections import RunConfig
from privfedmm.mechanisms.noises import NOISES


def clip_rule(config: RunConfig, cohort: float, noise_multiplier: float) -> ClipRule | None:
    """Return the rule of an adaptive clip, None for a fixed one.

    cohort: the public expected number of clients. Raises UserError where an adaptive clip makes no
    sense or cannot be paid for.
    """
    dp = config.dp
    if dp is None or not dp.moving_clip:
        return None
    if dp.per_interaction:
        raise UserError("dp.clipping: each device clips single interactions, of which no share is "
                        "released; set dp.clipping to fixed")
    if not config.entry.can.adaptive_clip:
        raise UserError(f"dp.clipping: the uploads of method {config.method} have length 1 by "
                        "construction, there is nothing to adapt to; set dp.clipping to fixed")
    # The bits get their noise beside the sum's, and one price covers both where they combine.
    if dp.place.on_sum and not NOISES.get(dp.mechanism).event(
            dp.trust, Everyone(), None).combines:
        raise UserError(f"dp.clipping: {dp.mechanism} noise does not combine with that on the "
                        "clients' clip bits; set dp.clipping to fixed, or take another "
                        "dp.mechanism")
    try:
        rule = _rule(dp, cohort, math.isfinite(dp.epsilon))
        rule.vector_multiplier(noise_multiplier)
    except ChainError as error:
        raise UserError(f"dp.clipping: {error}") from error
    return rule


def _rule(dp: DPSettings, cohort: float, noisy: bool) -> ClipRule:
    stddev = dp.clip_bit_stddev if dp.clip_bit_stddev is not None else cohort / 20
    return ClipRule(
        start=dp.clip_norm,
        smallest=dp.clip_smallest if dp.clip_smallest is not None else dp.clip_norm / 100,
        largest=dp.clip_largest if dp.clip_largest is not None else dp.clip_norm * 100,
        quantile=dp.clip_quantile,
        learning_rate=dp.clip_learning_rate,
        bit_stddev=stddev if noisy else 0.0,
    )


def clip_faults(
    entries: Sequence[Entry], dp: DPSettings, population: int, privacy: dict[str, Any]
) -> list[str]:
    """Return the clip norms in the ledger that the config, or the released shares, do not give."""
    if not dp.moving_clip:
        return [f"round {e.round}: clip_norm {e.clip_norm:g} in the ledger, {dp.clip_norm:g} in "
                "the config"
                for e in entries if e.clip_norm is not None and e.clip_norm != dp.clip_norm]
    rate = entries[0].sampling_rate if entries else 1.0
    rule = _rule(dp, rate * population, math.isfinite(dp.epsilon))
    norms = rule.trajectory([float(share) for share in privacy["adaptive_clip"]["shares"]])
    faults = []
    for entry in entries:
        due = norms[entry.round] if entry.round < len(norms) else None
        if due is None or entry.clip_norm is None or abs(entry.clip_norm - due) > 1e-9 * due:
            faults.append(f"round {entry.round}: clip_norm {entry.clip_norm} in the ledger, "
                          f"{due} follows from the released shares")
        if entry.name == QUANTILE and entry.noise_multiplier is not None and (
                abs(entry.noise_multiplier - 2 * rule.bit_stddev) > 1e-9 * rule.bit_stddev):
            faults.append(f"round {entry.round}: noise multiplier {entry.noise_multiplier:g} on "
                          f"the clip bits, {2 * rule.bit_stddev:g} by the config")
    for number in {e.round for e in entries if e.status == "released"}:
        if not any(e.round == number and e.name == QUANTILE for e in entries):
            faults.append(f"round {number}: the clip bits were not charged")
    return faults
