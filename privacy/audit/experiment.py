"""Audit a privacy stack in one run: canaries pass the real gate beside benign clients."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from privacy.aggregator import BEFORE_UPLOAD
from privacy.audit.benign import BenignRound
from privacy.audit.canaries import (
    Layout,
    canary_scores,
    canary_uploads,
    draw_coins,
    draw_directions,
    layout,
    predict_common,
    signs,
)
from privacy.audit.counts import AuditError
from privacy.audit.fresh import MOST_ROUNDS, Fresh, fresh_draws, looked_at
from privacy.audit.likeness import FEWEST_ALIKE, combined
from privacy.audit.noise_watch import NoiseWatch
from privacy.audit.replay import CLIP, RECOUNT, SLACK, replayed
from privacy.audit.residual import NOT_MADE, Residual, noise_tests
from privacy.audit.result import AuditResult, judge
from privacy.randomness import SimulationSource, Source
from privacy.releases import Release
from privacy.sampling import ZERO_OUT
from privacy.stack import PrivacyStack, Totals
from privacy.transforms import Mechanism

_BLOCK = 64
PROBES = 60  # clients of a replay without noise
RUNS, CLIENT, COHORTS = "between runs", "width of a client", "cohorts"
AGAIN, ALIKE = "a client's noise again", "two clients' noise"
_NOT_MADE: Mapping[str, str] = {
    **NOT_MADE,
    RUNS: f"the noise follows from the seed by design, or has fewer than {FEWEST_ALIKE} values",
    CLIENT: "no client adds noise of its own, of a stated distribution",
    AGAIN: f"no client adds noise of its own to the same {FEWEST_ALIKE} values or more twice",
    ALIKE: f"no two clients add noise of their own to {FEWEST_ALIKE} values or more",
    COHORTS: "everybody takes part in every round",
    CLIP: "nothing was replayed", RECOUNT: "nothing was replayed",
}


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """Fix all of an audit before anything is seen.

    clients: benign ones, numbered from 0; the canaries follow them. norm: of a canary's upload in
    clip norms; above 1, so that a missing clip shows. components: leading benign directions that
    are taken out of the releases before scoring. knows_benign: the adversary of the claim knows
    every other client, so the clipped benign uploads are taken out of the sums; with one or two
    releases, or with each in rounds of its own, alternating signs cancel nothing. guesses: how many
    canaries are guessed, None: a quarter. Raises AuditError for numbers of which no audit can be
    made.
    """

    clients: int
    rounds: int
    delta: float
    canaries: int = 400
    norm: float = 10.0
    alpha: float = 0.05
    guesses: int | None = None
    components: int = 0
    knows_benign: bool = False

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.clients < 0 or self.canaries < 8:
            raise AuditError(f"an audit needs 1 round, 0 clients and 8 canaries at least, got "
                             f"{self.rounds}, {self.clients} and {self.canaries}")
        if not self.norm >= 1:
            raise AuditError(f"canaries of {self.norm} clip norms are weaker than a user may be; "
                             "use 1 or more")


@dataclass(frozen=True)
class Evidence:
    """Hold the scores and coins [m] of an audit, and the claim that the ledger made by the end.

    gaussian: whether scores are normal under the claim. residuals: the noise as it was seen. own:
    p-values of the narrowest of the clients' own noises, one of each round. again: that of the
    largest likeness of a client's noise to its own of another round. alike: those of two clients'
    in one round. cohorts: the p-value of cohorts with no more in them, and nobody oftener, than
    sampled; None where all take part. longest: clip norms of the longest upload after its clip.
    fresh: the noise on nothing under fresh keys. exact: what a replay without noise found.
    """

    scores: np.ndarray
    coins: np.ndarray
    claimed: float
    gaussian: bool
    residuals: tuple[Residual, ...] = ()
    own: tuple[float, ...] = ()
    again: float | None = None
    alike: tuple[float, ...] = ()
    cohorts: float | None = None
    longest: float = 0.0
    fresh: Fresh | None = None
    exact: Mapping[str, float] = field(default_factory=dict)

    def noise(self) -> dict[str, float]:
        """Return the p-values of all tests of the noise itself, and of the replay without it."""
        fresh = self.fresh or Fresh((), ())
        cohorts = [p for p in (self.cohorts, fresh.cohorts) if p is not None]
        found = {
            CLIENT: combined(self.own) if self.own else None, AGAIN: self.again,
            ALIKE: combined(self.alike) if self.alike else None,
            COHORTS: combined(cohorts) if cohorts else None, RUNS: fresh.between_runs,
            **noise_tests([*self.residuals, *fresh.nothing]), **self.exact}
        if self.longest > 1 + SLACK:
            found[CLIP] = 0.0
        return {name: p for name, p in found.items() if p is not None}


def not_made(tests: Collection[str]) -> dict[str, str]:
    """Return why a test of the noise was not made, by its name; tests: those that were."""
    return {name: why for name, why in _NOT_MADE.items() if name not in tests}


def audit_mechanism(
    stack_factory: Callable[[], PrivacyStack], benign: BenignRound, plan: AuditPlan,
    source: Source,
) -> AuditResult:
    """Audit a fresh stack for `plan.rounds` rounds against the claim of its own ledger.

    benign: gives the blocks (ids, uploads) of the cohort's benign clients, from the totals of the
    round before (None in the first). source: of coins and directions; must not be the stack's.
    Raises AuditError where the stack makes no claim that can be audited.
    """
    found = closer(play(stack_factory(), benign, plan, source), stack_factory, plan, source)
    return judge(found.scores, found.coins, found.claimed, plan.delta, plan.alpha, plan.guesses,
                 found.gaussian, found.noise())


def closer(
    found: Evidence, stack_factory: Callable[[], PrivacyStack], plan: AuditPlan, source: Source,
    probes: int = PROBES, most: int = MOST_ROUNDS,
) -> Evidence:
    """Add what stacks of their own show: the noise on nothing, and rounds without noise.

    probes: clients of such a round. most: rounds that are played so, where there are more.
    """
    return replace(
        found,
        fresh=fresh_draws(stack_factory, plan.rounds, plan.clients + plan.canaries, source),
        exact=replayed(stack_factory(), probes, looked_at(plan.rounds, most, source), source))


def play(
    stack: PrivacyStack, benign: BenignRound, plan: AuditPlan, source: Source
) -> Evidence:
    """Run the rounds and score the canaries on what the adversary of the claim sees.

    Central noise: the released sums. An excluded canary uploads zeros, the neighbour of the
    zero-out claim. Local noise: each canary's own row; an excluded one uploads the opposite, the
    neighbour of the replacement claim.
    """
    mechanism = _auditable(stack, source)
    local = mechanism.noise.place.alone
    full = layout(stack.releases, mechanism)
    coins = draw_coins(plan.canaries, source)
    directions = draw_directions(plan.canaries, full.dims, source)
    factor = np.where(coins, 1.0, -1.0 if local else 0.0)
    sign, population = signs(plan.rounds), plan.clients + plan.canaries
    seen, own = np.zeros((plan.rounds, full.dims)), np.zeros(plan.canaries)
    last: Totals | None = None
    watched, drawn = NoiseWatch(), np.zeros((plan.rounds, population), dtype=bool)
    for t in range(plan.rounds):
        active = [r for r in stack.releases if r.in_round(t)]
        now = stack.at(t)
        assert now is not None
        where, columns = layout(active, now), _columns(full, active)
        # A round with less noise says more of a canary: the likelihood ratio weighs it so.
        loud = math.sqrt(stack.portions.weight(t))
        cohort = stack.draw(population, t)
        lost = stack.survivors.dropouts(cohort)
        gone = frozenset().union(*(lost.get(stage, frozenset()) for stage in BEFORE_UPLOAD))
        # What the sums show under central noise, the server sees row by row under local noise.
        watch = watched.round(now, where, cohort, gone, source)
        used = watch.on(stack)
        gate = used.open(cohort)
        drawn[t, cohort.ids] = True
        for ids, uploads in benign(replace(cohort, ids=cohort.ids[cohort.ids < plan.clients]),
                                   last):
            gate.submit(ids, uploads)
            watch.entered(ids, uploads)
        if plan.knows_benign and not local:
            seen[t, columns] -= watch.sum
        present = cohort.ids[cohort.ids >= plan.clients]
        for start in range(0, len(present), _BLOCK):
            ids = present[start : start + _BLOCK]
            places = ids - plan.clients
            rows = directions[places][:, columns] * (factor[places, None] * sign[t])
            sent = canary_uploads(active, where, rows, plan.norm * now.clip.clip_norm)
            gate.submit(ids, sent)
            left = watch.entered(ids, sent)
            if local and left is not None:
                # In units of the round's noise, which an adaptive clip moves.
                own[left.ids - plan.clients] += sign[t] * loud / now.noise.stddev * np.einsum(
                    "id,id->i", directions[left.ids - plan.clients][:, columns], left.rows)
        last, _ = used.finish(gate.close(), cohort, population)
        total = where.join(last.sums) if where.shapes.keys() <= last.sums.keys() else None
        watch.released(total)
        watch.moved(stack.clipper)
        if not local:
            assert total is not None
            seen[t, columns] += total
            seen[t] *= loud / now.noise.stddev
    scores = own / math.sqrt(plan.rounds) if local else canary_scores(
        seen, directions, sign, 1.0, predict_common(seen, plan.components))
    return Evidence(
        scores, coins, stack.ledger.spent(plan.delta),
        mechanism.noise.event(stack.sampling).scores_are_normal,
        watched.residuals(), tuple(watched.own), watched.again(), tuple(watched.alike),
        _cohorts(drawn, stack.sampling.rate), watched.longest)


def _cohorts(drawn: np.ndarray, rate: float) -> float | None:
    """The chance of so many in all cohorts, or of one client in so many; drawn [rounds, clients]
    bool."""
    if rate == 1:
        return None
    rounds, clients = drawn.shape
    most = int(drawn.sum(axis=0).max())
    return combined([float(stats.binom.sf(drawn.sum() - 1, drawn.size, rate)),
                     min(1.0, clients * float(stats.binom.sf(most - 1, rounds, rate)))])


def _auditable(stack: PrivacyStack, source: Source) -> Mechanism:
    if stack.mechanism is None or not stack.mechanism.noise.noise_multiplier:
        raise AuditError("the stack adds no noise and claims nothing; there is nothing to audit")
    if stack.sampling.adjacency != ZERO_OUT:
        raise AuditError("cohorts of fixed size are claimed for the replacement of a user, which "
                         "these canaries do not play; audit full participation or Poisson cohorts")
    if stack.ledger.entries:
        raise AuditError("the ledger holds releases already; an audit needs a stack of its own")
    if source is stack.source or source.name == SimulationSource.name:
        raise AuditError("the coins must come from a source that nothing else uses: an "
                         "AuditSource, or a SystemSource of its own")
    return stack.mechanism


def _columns(full: Layout, active: Sequence[Release]) -> np.ndarray:
    """Places of the active releases in the joint vector of all releases."""
    names = {release.name for release in active}
    return np.flatnonzero(np.concatenate([
        np.full(math.prod(shape), name in names) for name, shape in full.shapes.items()]))
