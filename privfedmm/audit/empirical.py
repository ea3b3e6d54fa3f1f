"""`privfedmm audit`, the empirical part: canaries through the stack of a run, against its claim."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from privacy import Cohort, PrivacyStack, Totals, Uploads
from privacy.audit import (
    NOISE_LEVEL,
    AuditPlan,
    AuditResult,
    AuditSource,
    Evidence,
    Interval,
    closer,
    failures,
    judge,
    not_made,
    play,
    sentence,
)
from privfedmm.assemble import assemble, plan_of
from privfedmm.base.files import finite
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.federation import Algorithm
from privfedmm.privacy_plan.stack import noise_source

JOINT_ALARM = 0.01  # chance that an honest run fails its audit, at most
SHOWN_ALPHA = 0.05  # of the bounds shown beside the verdict, each alone
# The alarm divided, before any score is seen: most of it to the bound with most power.
LEVELS = {"mean_shift": 0.004, "gaussian_one_run": 0.0005, "one_run": 0.0005}
SAMPLED_LEVELS = {"one_run": JOINT_ALARM - NOISE_LEVEL}
FULL, LARGE, QUICK, MANY_USERS = 400, 1000, 200, 6000


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """These are the canaries of an audit.

    count: how many canaries there are, None for 400, or for 1,000 from 6,000 users on. seed: the
    seed of coins and directions. full_protocol: whether masks and ciphertexts are really made,
    instead of the same sums without them.
    """

    count: int | None = None
    seed: int
    full_protocol: bool = False

    def number(self, users: int) -> int:
        """Return how many canaries there are beside this many users."""
        return self.count or (LARGE if users >= MANY_USERS else FULL)


@dataclass(frozen=True)
class Claimed:
    """This is what a run claims, from its record, with the noise and the rounds of its ledger.

    noise_multiplier: the noise of the joint vector on an even split of the budget; None for the
    noise as calibrated, which an adaptive clip splits between two releases.
    """

    epsilon: float
    delta: float
    rounds: int
    noise_multiplier: float | None = None


def why_not(config: RunConfig, record: Mapping[str, Any]) -> str | None:
    """Return why a run's configuration has no empirical audit; None where it has one."""
    privacy = record["privacy"]
    if not privacy["epsilon"]:
        return f"the run claims no epsilon ({privacy['reason']})"
    assert config.dp is not None
    if config.dp.per_interaction:
        return ("the claim is of one interaction, and the noise is in each device's training; "
                "canaries of whole users do not measure it")
    if config.dp.sampling == "fixed":
        return ("cohorts of fixed size are claimed for the replacement of a user, which these "
                "canaries do not play")
    if not privacy["rounds"]:
        return "the run released nothing"
    return None


def claimed_by(config: RunConfig, record: Mapping[str, Any]) -> Claimed:
    """Return the claim of a finished run that `why_not` allows."""
    privacy = record["privacy"]
    fixed = config.dp is not None and not config.dp.moving_clip
    return Claimed(privacy["epsilon"], privacy["delta"], privacy["rounds"],
                   _even_split(privacy["releases"]) if fixed else None)


def _even_split(releases: Sequence[Mapping[str, Any]]) -> float | None:
    """The noise multiplier that joint releases of a record have on an even split of the budget.

    None without noise."""
    rows = [r for r in releases if r["name"] == "joint"]
    if not rows or any(r["noise_multiplier"] is None for r in rows):
        return None
    if len(rows) == 1:
        return float(rows[0]["noise_multiplier"])
    precision = sum(r["count"] * r["noise_multiplier"]**-2 for r in rows)
    return float((precision / sum(r["count"] for r in rows))**-0.5)


class RealBenign:
    """This plays the benign clients by the run's own algorithm; its server reads the released
    totals."""

    def __init__(self, algorithm: Algorithm, tell: Callable[[str], None]) -> None:
        self.algorithm = algorithm
        self._state, self._clients = algorithm.initial_state(), algorithm.initial_clients()
        self._tell = tell

    def __call__(
        self, cohort: Cohort, last: Totals | None
    ) -> Iterable[tuple[np.ndarray, Uploads]]:
        self._tell(f"round {cohort.round + 1}")
        if last is not None:
            self._state = self.algorithm.step(self._state, last)
        plan = self.algorithm.plan(self._state)
        for ids in self.algorithm.blocks(cohort.ids):
            yield ids, self.algorithm.local(plan, ids, self._clients)[0]


def ring(config: RunConfig) -> RunConfig:
    """Return the config with the same sums of secure aggregation, bit for bit, but without masks
    and keys."""
    return config.model_copy(
        update={"secure": config.secure.model_copy(update={"mode": "ring"})})


def gather(
    config: RunConfig, data: Dataset, claim: Claimed, canaries: Canaries,
    tell: Callable[[str], None],
    change: Callable[[PrivacyStack], PrivacyStack] = lambda stack: stack,
) -> Evidence:
    """Play the rounds of a run with canaries beside its users. Return scores, coins and a fresh
    price.

    The plan is the run's, made for its users: canaries enlarge the cohort, never change the noise
    that was calibrated. change: breaks the stack on purpose.
    """
    if config.is_secure and not canaries.full_protocol:
        config = ring(config)
    count = canaries.number(data.num_users)
    planned = plan_of(config, data)
    if claim.noise_multiplier is not None:
        planned = replace(planned, noise_multiplier=claim.noise_multiplier)
    if planned.shares is not None:
        # The run's ratio of the noise that all add to the noise that is counted on.
        most = planned.shares.count * (data.num_users + count) // data.num_users
        planned = replace(planned, shares=replace(planned.shares, count=most))
    parts = assemble(
        config, data, planned=planned, population=data.num_users + count, budget=False)
    benign = RealBenign(parts.algorithm, tell)
    stack = change(parts.stack)

    def anew() -> PrivacyStack:
        """The stack under keys that nothing else has, as another run would have them."""
        return change(replace(parts.stack, source=noise_source(config)))

    plan = AuditPlan(clients=data.num_users, rounds=claim.rounds, delta=claim.delta,
                     canaries=count, knows_benign=True)
    found = play(stack, benign, plan, AuditSource(canaries.seed))
    if not canaries.full_protocol:
        return closer(found, anew, plan, AuditSource(canaries.seed))
    # The sums of secure aggregation are made for the whole cohort.
    return closer(found, anew, plan, AuditSource(canaries.seed), data.num_users + count, 2)


def judged(found: Evidence, claim: Claimed, alpha: float) -> AuditResult:
    """Judge evidence against the epsilon that the run claims, with every bound at the same
    alpha."""
    return judge(found.scores, found.coins, claim.epsilon, claim.delta, alpha, None,
                 found.gaussian)


@dataclass(frozen=True)
class Verdict:
    """This is the verdict on a run's claim.

    levels: a map from bound to its share of the joint false alarm. bounds: the bounds that could be
    computed. violations: the names of those above the claim. noise: p-values of the tests of the
    noise itself, and 0 or 1 for what a replay without it found. not_made: why other such tests were
    not made.
    """

    levels: Mapping[str, float]
    bounds: Mapping[str, float]
    violations: tuple[str, ...]
    noise: Mapping[str, float] = field(default_factory=dict)
    not_made: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Evidence, claim: Claimed) -> Verdict:
        """Judge evidence with each bound at its own level."""
        levels = LEVELS if found.gaussian else SAMPLED_LEVELS
        bounds, above = {}, []
        for name, alpha in levels.items():
            result = judged(found, claim, alpha)
            if name in result.bounds:
                bounds[name] = result.bounds[name]
                above += [name] if name in result.violations else []
        tests = found.noise()
        return cls(levels, bounds, tuple(above), tests, not_made(tests))

    @property
    def noise_faults(self) -> tuple[str, ...]:
        """Return the tests of the noise itself that fail, at NOISE_LEVEL together."""
        return failures(self.noise, NOISE_LEVEL)

    @property
    def passed(self) -> bool:
        """Return whether no bound is above the claim, and the noise is as stated."""
        return not self.violations and not self.noise_faults

    def sentence(self, claim: Claimed) -> str:
        """Return the verdict in one sentence."""
        if self.passed:
            return (f"no lower bound is above the claimed epsilon {claim.epsilon:.4g}; this shows "
                    "no fault and proves no claim")
        found = ", ".join(f"{n} {self.bounds[n]:.4g} at {1 - self.levels[n]:.2%}"
                          for n in self.violations)
        if self.noise_faults:
            return sentence(self.noise, self.noise_faults) + (
                f"; lower bounds above the claimed epsilon {claim.epsilon:.4g}: {found}"
                if found else "")
        return (f"the mechanism leaks more than the claimed epsilon {claim.epsilon:.4g} allows "
                f"(lower bounds: {found})")


def audit_empirically(
    config: RunConfig, data: Dataset, record: Mapping[str, Any], canaries: Canaries,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Return the empirical part of audit.json; `skipped` names the reason where there is none.

    The verdict rests on bounds whose false alarms add up to JOINT_ALARM, so that an honest run
    fails with that chance at most; bounds of 95% each are shown beside it.
    """
    if (reason := why_not(config, record)) is not None:
        return {"skipped": reason}
    claim = claimed_by(config, record)
    started = time.perf_counter()
    found = gather(config, data, claim, canaries,
                   lambda text: tell(f"empirical audit: {text} of {claim.rounds}"))
    strict, shown = Verdict.of(found, claim), judged(found, claim, SHOWN_ALPHA)
    return {
        "skipped": None,
        "claimed": claim.epsilon, "delta": claim.delta, "rounds": claim.rounds,
        "priced_again": finite(found.claimed),
        "canaries": shown.canaries, "users": data.num_users, "audit_seed": canaries.seed,
        "estimate": _interval(shown.estimate),
        "bounds_95": {n: finite(x) for n, x in shown.bounds.items()},
        "bounds_verdict": {n: finite(x) for n, x in strict.bounds.items()},
        "bounds_missing": dict(shown.missing),
        "levels": {**strict.levels, "noise": NOISE_LEVEL}, "joint_false_alarm": JOINT_ALARM,
        "noise_tests": dict(strict.noise), "noise_faults": list(strict.noise_faults),
        "noise_tests_not_made": dict(strict.not_made),
        "auc": _interval(shown.auc), "tpr_at_1_percent_fpr": _interval(shown.tpr_at_1_percent_fpr),
        "right_guesses": shown.correct, "guesses": shown.guesses, "normal_p": shown.normal_p,
        "violations": list(strict.violations), "passed": strict.passed,
        "verdict": strict.sentence(claim), "notes": _notes(config, claim, canaries),
        "seconds": time.perf_counter() - started,
    }


def _interval(found: Interval | None) -> dict[str, float | None] | None:
    return None if found is None else {
        "value": finite(found.value), "low": finite(found.low), "high": finite(found.high)}


def _notes(config: RunConfig, claim: Claimed, canaries: Canaries) -> list[str]:
    """What a reader must know to read the figures."""
    dp = config.dp
    assert dp is not None
    out = [
        "the adversary of the claim sees every released sum and knows every other client: the "
        "clipped benign uploads are taken out before canaries are scored",
        "canaries enlarge the cohort, and take part in training; noise and clip are the run's",
    ]
    if dp.place.alone:
        out[0] = ("the adversary of the claim is the server: each canary is scored on its own "
                  "noisy uploads, against the opposite ones")
    if config.is_secure and not canaries.full_protocol:
        out.append("sums without masks and keys (secure.mode ring): the same integers, bit for "
                   "bit; --full-protocol makes them")
    if dp.place.in_shares:
        out.append("scores are counted in the noise that the claim counts on, that of the fewest "
                   "honest survivors; all clients and canaries add their shares, as many times "
                   "more as in the run, so the estimate lies below the claim")
    if not dp.everyone:
        out.append("sampled cohorts: only the bound without assumptions holds; it is weak")
    if claim.rounds <= 2:
        out.append(f"{claim.rounds} rounds: alternating signs cancel nothing here, and a canary's "
                   "length is divided between releases of different rounds; noise used twice "
                   "cannot show")
    if dp.moving_clip:
        out.append("adaptive clip: canaries have the clip norm of each round; the bits are priced "
                   "in the claim but carry no canary")
    if dp.noise != "csprng":
        out.append("the noise follows from the seed by design: that other runs have other noise is "
                   "not looked at")
    if dp.noise == "csprng":
        out.append("noise from the operating system: --audit-seed repeats coins and directions, "
                   "not the noise")
    return out
