"""Audit a privacy stack in one run: canaries pass the real gate beside benign clients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from privacy.aggregation.intercept import Tap, TappedAggregator
from privacy.aggregator import BEFORE_UPLOAD, Task
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
from privacy.audit.replay import replayed
from privacy.audit.residual import Residual, noise_tests, repeated
from privacy.audit.result import AuditResult, judge
from privacy.randomness import SimulationSource, Source
from privacy.sampling import Cohort, Everyone, Poisson
from privacy.stack import PrivacyStack, Totals
from privacy.transforms import Mechanism
from privacy.uploads import Dense, Release, Uploads

BenignRound = Callable[[Cohort, Totals | None], Iterable[tuple[np.ndarray, Uploads]]]
_BLOCK = 64
RUNS = 64  # fresh draws of one release
PROBES = 60  # clients of a replay without noise
_LOOKED_AT = 8  # clients whose own noise is looked at, under local noise


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """Fix all of an audit before anything is seen.

    clients: benign ones, numbered from 0; the canaries follow them. norm: of a canary's upload in
    clip norms; above 1, so that a missing clip shows. components: leading benign directions that
    are taken out of the releases before scoring. knows_benign: the adversary of the claim knows
    every other client, so the clipped benign uploads are taken out of the sums; with one or two
    releases, or with each in rounds of its own, alternating signs cancel nothing. guesses: how many
    canaries are guessed, None: a quarter.
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
class _Watch:
    """Keeps the rows of the canaries as they left the device, in the joint vector's scale."""

    first: int
    where: Layout
    step: float = 0.0
    rows: dict[int, np.ndarray] = field(default_factory=dict)

    def attach(self, task: Task) -> Tap:
        """A tap that changes nothing."""
        self.rows.clear()
        return self._keep

    def _keep(self, ids: np.ndarray, uploads: Uploads) -> Uploads:
        chosen = np.flatnonzero(ids >= self.first)
        if len(chosen):
            pick = torch.from_numpy(chosen)
            dense = {n: p.dense()[pick] for n, p in uploads.items()}
            # On a grid the integers are in the joint vector's scale already.
            rows = self.where.join_rows(dense) if not self.step else self.step * torch.cat(
                [dense[n].double().flatten(1) for n in self.where.shapes], dim=1).numpy()
            self.rows.update(zip(ids[chosen].tolist(), rows, strict=True))
        return uploads


@dataclass(frozen=True)
class Evidence:
    """Hold the scores and coins [m] of an audit, and the claim that the ledger made by the end.

    gaussian: whether scores are normal under the claim. residuals: the noise as it was seen, in its
    stated deviations. normal: whether it is stated to be normal. drawn: one release's noise on
    nothing, under fresh keys, again and again. exact: what a replay without noise found.
    """

    scores: np.ndarray
    coins: np.ndarray
    claimed: float
    gaussian: bool
    residuals: tuple[Residual, ...] = ()
    normal: bool = True
    drawn: tuple[np.ndarray, ...] = ()
    exact: Mapping[str, float] = field(default_factory=dict)

    def noise(self) -> dict[str, float]:
        """Return the p-values of all tests of the noise itself, and of the replay without it."""
        nothing = [Residual(0, "of nothing", self.drawn[0])] if self.drawn else []
        tests = {**noise_tests([*self.residuals, *nothing], self.normal), **self.exact}
        if len(self.drawn) > 1:
            tests["between runs"] = repeated(self.drawn)
        return tests


def audit_mechanism(
    stack_factory: Callable[[], PrivacyStack], benign: BenignRound, plan: AuditPlan,
    source: Source,
) -> AuditResult:
    """Audit a fresh stack for `plan.rounds` rounds against the claim of its own ledger.

    benign: gives the blocks (ids, uploads) of the cohort's benign clients, from the totals of the
    round before (None in the first). source: of coins and directions; must not be the stack's.
    Raises AuditError where the stack makes no claim that can be audited.
    """
    found = play(stack_factory(), benign, plan, source)
    found = replace(found, drawn=fresh_draws(stack_factory),
                    exact=replayed(stack_factory(), PROBES, source))
    return judge(found.scores, found.coins, found.claimed, plan.delta, plan.alpha, plan.guesses,
                 found.gaussian, found.noise())


def fresh_draws(
    stack_factory: Callable[[], PrivacyStack], runs: int = RUNS
) -> tuple[np.ndarray, ...]:
    """Draw the noise on nothing of `runs` stacks without anything in common.

    Each is [dims], of the first release, in stated standard deviations. There is one alone where a
    stack's noise follows from a seed by design, and says so.
    """
    out: list[np.ndarray] = []
    while len(out) < runs:
        stack = stack_factory()
        mechanism = stack.mechanism
        assert mechanism is not None
        where = layout([r for r in stack.releases if r.in_round(0)], mechanism)
        step = mechanism.quantise.step if mechanism.quantise else 0.0
        if mechanism.noise.place == "central":
            kind = torch.int64 if step else torch.float32
            nothing = {n: torch.zeros(shape, dtype=kind) for n, shape in where.shapes.items()}
            drawn = mechanism.on_sum(nothing, stack.source, 0)
            # Not expanded: a projected release is in its public directions here.
            out.append(np.concatenate([drawn[n].double().numpy().reshape(-1) * where.weights[n]
                                       for n in where.shapes]) / mechanism.noise.stddev)
        else:
            kind = torch.int32 if step else torch.float32
            empty = {n: Dense(torch.zeros(1, *shape, dtype=kind))
                     for n, shape in where.shapes.items()}
            rows = mechanism.noise.on_clients(
                empty, mechanism.scale, np.zeros(1, dtype=np.int64), stack.source, 0)
            dense = {n: part.dense() for n, part in rows.items()}
            # Integers are in steps of the joint vector, and a client adds its share alone.
            out.append(np.concatenate([dense[n][0].double().numpy().reshape(-1)
                                       for n in where.shapes]) / mechanism.noise.share(step)
                       if step else where.join_rows(dense)[0] / mechanism.noise.stddev)
        if stack.source.name == SimulationSource.name:
            break
    return tuple(out)


def play(
    stack: PrivacyStack, benign: BenignRound, plan: AuditPlan, source: Source
) -> Evidence:
    """Run the rounds and score the canaries on what the adversary of the claim sees.

    Central noise: the released sums. An excluded canary uploads zeros, the neighbour of the
    zero-out claim. Local noise: each canary's own row; an excluded one uploads the opposite, the
    neighbour of the replacement claim.
    """
    mechanism = _auditable(stack, source)
    local = mechanism.noise.place == "local"
    full = layout(stack.releases, mechanism)
    coins = draw_coins(plan.canaries, source)
    directions = draw_directions(plan.canaries, full.dims, source)
    factor = np.where(coins, 1.0, -1.0 if local else 0.0)
    sign, population = signs(plan.rounds), plan.clients + plan.canaries
    seen, own = np.zeros((plan.rounds, full.dims)), np.zeros(plan.canaries)
    last: Totals | None = None
    residuals: list[Residual] = []
    for t in range(plan.rounds):
        active = [r for r in stack.releases if r.in_round(t)]
        now = stack.at(t)
        assert now is not None
        where, columns = layout(active, now), _columns(full, active)
        # What the sums show under central noise, the server sees row by row under local noise.
        step = now.quantise.step if now.quantise else 0.0
        watch = _Watch(plan.clients, where, step)
        tapped = TappedAggregator(stack.aggregator, watch.attach)
        theirs = now.noise.place != "central"
        used = replace(stack, aggregator=tapped) if theirs else stack
        cohort = used.draw(population, t)
        gate = used.open(cohort)
        members = cohort.ids[cohort.ids < plan.clients]
        lost = stack.survivors.dropouts(cohort)
        gone = np.array(sorted(frozenset().union(
            *(lost.get(stage, frozenset()) for stage in BEFORE_UPLOAD))), dtype=np.int64)
        entered, names = np.zeros(len(columns)), "|".join(where.shapes)
        for ids, uploads in benign(replace(cohort, ids=members), last):
            gate.submit(ids, uploads)
            known = _clipped_sum(now, where, uploads, ~np.isin(ids, gone))
            entered += known
            if plan.knows_benign and not local:
                seen[t, columns] -= known
        present = cohort.ids[cohort.ids >= plan.clients]
        for start in range(0, len(present), _BLOCK):
            ids = present[start : start + _BLOCK]
            places = ids - plan.clients
            rows = directions[places][:, columns] * (factor[places, None] * sign[t])
            sent = canary_uploads(active, where, rows, plan.norm * now.clip.clip_norm)
            gate.submit(ids, sent)
            entered += _clipped_sum(now, where, sent, ~np.isin(ids, gone))
        last, _ = used.finish(gate.close(), cohort, population)
        inside = int((~np.isin(cohort.ids, gone)).sum())
        residuals.append(Residual(t, names, (where.join(last.sums) - entered)
                                  / now.noise.stddev_on_sum(inside)))
        # In units of the round's noise, which an adaptive clip moves.
        own_stddev = now.noise.share(step) * step if step else now.noise.stddev
        for number in sorted(watch.rows)[:_LOOKED_AT] if theirs and own_stddev else ():
            place = number - plan.clients
            clipped = directions[place, columns] * (factor[place] * sign[t] * now.clip.clip_norm)
            residuals.append(Residual(
                t, f"{names} of one", (watch.rows[number] - clipped) / own_stddev))
        if local:
            for number, row in watch.rows.items():
                place = number - plan.clients
                own[place] += sign[t] * float(directions[place, columns] @ row) / now.noise.stddev
        else:
            seen[t, columns] += where.join(last.sums)
            seen[t] /= now.noise.stddev
    scores = own / math.sqrt(plan.rounds) if local else canary_scores(
        seen, directions, sign, 1.0, predict_common(seen, plan.components))
    return Evidence(scores, coins, stack.ledger.spent(plan.delta),
                    mechanism.noise.event(stack.sampling).scores_are_normal,
                    tuple(residuals), mechanism.noise.event(Everyone()).scores_are_normal)


def _clipped_sum(
    mechanism: Mechanism, where: Layout, uploads: Uploads, present: np.ndarray
) -> np.ndarray:
    """What the present clients of a block add to the joint vector, before rounding and noise."""
    if mechanism.project:
        uploads = mechanism.project.apply(uploads)
    clipped = mechanism.clip.apply(uploads).uploads
    rows = torch.from_numpy(np.flatnonzero(present))
    sums = {name: torch.zeros(1, *where.shapes[name]) for name in where.shapes}
    for name, total in sums.items():
        clipped[name].rows(rows).add_to(total[0])
    return where.join_rows(sums)[0]


def _auditable(stack: PrivacyStack, source: Source) -> Mechanism:
    if stack.mechanism is None or not stack.mechanism.noise.noise_multiplier:
        raise AuditError("the stack adds no noise and claims nothing; there is nothing to audit")
    if not isinstance(stack.sampling, Everyone | Poisson):
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


def synthetic_benign(
    releases: Sequence[Release], clients: int, source: Source, rank: int = 5, norm: float = 2.0
) -> BenignRound:
    """Make benign clients with updates of about `norm` a release: low rank, a drift, fresh
    noise."""
    scale = norm / math.sqrt(3)

    def draw(label: str, round_: int, *shape: int) -> Tensor:
        drawn = source.normal(label, round_, math.prod(shape)).reshape(shape)
        return torch.from_numpy(drawn).float()

    steady: Mapping[str, Tensor] = {
        r.name: scale / math.sqrt(rank * math.prod(r.shape)) * (
            draw(f"benign tastes {r.name}", 0, clients, rank)
            @ draw(f"benign themes {r.name}", 0, rank, math.prod(r.shape)))
        + scale / math.sqrt(math.prod(r.shape)) * draw(f"benign trend {r.name}", 0, 1,
                                                       math.prod(r.shape))
        for r in releases
    }

    def play_round(
        cohort: Cohort, last: Totals | None
    ) -> Iterable[tuple[np.ndarray, Uploads]]:
        ids = cohort.ids
        uploads = {}
        for release in releases:
            if not release.in_round(cohort.round):
                continue
            size = math.prod(release.shape)
            fresh = draw(f"benign {release.name}", cohort.round, len(ids), size)
            rows = steady[release.name][torch.from_numpy(ids)] * 0.95**cohort.round
            uploads[release.name] = Dense(
                (rows + fresh * (scale / math.sqrt(size))).reshape(len(ids), *release.shape))
        return [(ids, uploads)] if len(ids) else []

    return play_round
