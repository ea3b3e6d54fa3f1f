"""Watch what enters the sums of an audit, and keep what they, and devices, add to it: the noise."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from privacy.adaptive import AdaptiveClip
from privacy.aggregation.intercept import Tap, TappedAggregator
from privacy.aggregator import Task
from privacy.audit.canaries import Layout
from privacy.audit.likeness import FEWEST_ALIKE, combined, correlated, most_alike
from privacy.audit.residual import Residual, as_stated, dithered, width
from privacy.noise import Noise
from privacy.randomness import Source
from privacy.sampling import Cohort, Everyone
from privacy.stack import PrivacyStack
from privacy.transforms import Mechanism
from privacy.uploads import Uploads

# Clients whose own noise is kept whole: so many in every round, and so many others in each. Of
# everybody else its width is looked at.
_ALWAYS, _NEW = 4, 4
_SKETCH = 64  # coordinates of everybody's own noise that are compared between clients and rounds
_COMPARED = 2048  # clients of a round who are compared with each other, all of them up to so many


@dataclass(frozen=True)
class Left:
    """Hold what left the devices of a block: ids [some] of those who sent, rows [some, dims] in the
    joint vector."""

    ids: np.ndarray
    rows: np.ndarray


@dataclass
class RoundWatch:
    """Keep the books of one round: `entered` for every block, then `released`.

    sum: the clipped uploads of all who are present, in the joint vector [dims]. widths: p-values of
    the width of each client's own noise. looked_at: whose own noise is kept whole.
    """

    kept: NoiseWatch
    now: Mechanism
    where: Layout
    cohort: Cohort
    gone: np.ndarray
    looked_at: np.ndarray
    sum: np.ndarray
    source: Source
    bits: float = 0.0
    widths: list[float] = field(default_factory=list)
    sketches: list[np.ndarray] = field(default_factory=list)
    left: Left | None = None

    def on(self, stack: PrivacyStack) -> PrivacyStack:
        """Return the stack with a tap on what leaves its devices, where they add noise."""
        if self.now.noise.place.on_sum:
            return stack
        return replace(stack, aggregator=TappedAggregator(stack.aggregator, self._attach))

    def _attach(self, task: Task) -> Tap:
        return self._leaves

    def _leaves(self, ids: np.ndarray, uploads: Uploads) -> Uploads:
        dense = {n: p.dense() for n, p in uploads.items()}
        self.left = Left(ids, self.where.join_rows(dense, self.now.scale.step))
        return uploads

    def entered(self, ids: np.ndarray, uploads: Uploads) -> Left | None:
        """Add a block that the gate has passed on, as it was before. Return what was seen leave."""
        if self.now.project:
            uploads = self.now.project.apply(uploads)
        clipped, here = self.now.clip.apply(uploads), ~np.isin(ids, self.gone)
        rows = torch.from_numpy(np.flatnonzero(here))
        passed = ~(clipped.shortened | clipped.zeroed)[rows]
        self.bits += float(passed.sum()) - len(rows) / 2
        parts = {n: p.rows(rows) for n, p in clipped.uploads.items()}
        self._measure(parts)
        left, self.left = self.left, None
        if left is not None:
            whole = self.where.join_rows({n: p.dense() for n, p in parts.items()})
            self.sum += whole.sum(axis=0)
            if self.now.own_stddev and len(left.ids):
                self._own(left.ids, (left.rows - whole) / self.now.own_stddev)
            return left
        sums = {n: torch.zeros(1, *shape) for n, shape in self.where.shapes.items()}
        for name, total in sums.items():
            parts[name].add_to(total[0])
        self.sum += self.where.join_rows(sums)[0]
        return None

    def _measure(self, parts: Uploads) -> None:
        """Look at what the clip lets pass, in the form in which it came."""
        weights = self.now.clip.weights
        squared = [p.held().double().flatten(1).square().sum(1) * weights[n] ** 2
                   for n, p in parts.items()]
        norm = torch.stack(squared).sum(0).sqrt().amax() if len(squared[0]) else torch.zeros(())
        self.kept.longest = max(self.kept.longest, float(norm) / self.now.clip.clip_norm)

    def _own(self, ids: np.ndarray, noise: np.ndarray) -> None:
        """Look at the noise of a block's devices [some, dims], in its stated deviations."""
        noise = self._dithered(noise, self.now.own_stddev, f"own {ids[0]}")
        whole, stated = as_stated(self.now.noise, noise)
        if stated:
            self.widths += width(whole).tolist()
        names = "|".join(self.where.shapes)
        sketch = self.kept.sketch(names, ids, whole, self.source)
        if sketch is not None:
            self.sketches.append(sketch)
        for row in whole[np.isin(ids, self.looked_at)]:
            self.kept.add("of one", self.where, row, stated)

    def _dithered(self, noise: np.ndarray, stddev: float, label: str) -> np.ndarray:
        step = self.now.scale.step / stddev
        return dithered(noise, step, self.source, f"{label} {self.cohort.round}")

    def released(self, total: np.ndarray | None) -> None:
        """Take the released sum [dims] in the joint vector; None where uploads are not summed."""
        if self.widths:
            self.kept.own.append(combined(self.widths))
        if self.sketches:
            rows = np.concatenate(self.sketches)
            if len(rows) > _COMPARED:
                coins = self.source.uniform("audit compared", self.cohort.round, len(rows))
                rows = rows[np.argsort(coins, kind="stable")[:_COMPARED]]
            likeness, pairs = most_alike(rows)
            if pairs:
                self.kept.alike.append(correlated(likeness, rows.shape[1], pairs))
        noise, inside = self.now.noise, len(self.cohort.ids) - len(self.gone)
        if total is None or not inside:
            return
        wide = noise.stddev_on_sum(inside)
        rest = self._dithered((total - self.sum) / wide, wide, "sum")
        values, stated = as_stated(noise, rest) if _one_law(noise) else (rest, False)
        # Where clients add the noise, that of those who are looked at is in the sum as well.
        self.kept.add("", self.where, values, stated, alone=not self.now.own_stddev)

    def moved(self, clipper: AdaptiveClip | None) -> None:
        """Take the bits that moved a clip norm, where one moves."""
        if clipper is not None and clipper.rule.bit_stddev:
            share = clipper.shares[self.cohort.round] - 0.5
            self.kept.bits.append(
                (share * self.cohort.denominator - self.bits) / clipper.rule.bit_stddev)


def _one_law(noise: Noise) -> bool:
    """Tell whether the noise on a sum has the distribution of one draw: sums of normal ones do."""
    return noise.place.on_sum or noise.event(Everyone()).scores_are_normal


@dataclass
class NoiseWatch:
    """Hold the noise of an audit's rounds.

    own: p-values of the narrowest noise of any client, one of each round. alike: of the largest
    likeness of two clients' noise, one of each round. bits: the noise on the bits that move a clip
    norm, round after round, in its stated deviations. longest: the longest of all clipped uploads,
    in clip norms. always: clients that are looked at in every round.
    """

    own: list[float] = field(default_factory=list)
    alike: list[float] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)
    longest: float = 0.0
    always: np.ndarray | None = None
    _sketches: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    _residuals: list[Residual] = field(default_factory=list)

    def round(
        self, now: Mechanism, where: Layout, cohort: Cohort, gone: Collection[int], source: Source
    ) -> RoundWatch:
        """Begin a round. gone: those of the cohort who send no upload. source: of who is looked at
        closely, whom nobody can know before."""
        coins = source.uniform("audit looked at", cohort.round, len(cohort.ids))
        chosen = cohort.ids[np.argsort(coins, kind="stable")]
        if self.always is None:
            self.always, chosen = chosen[:_ALWAYS], chosen[_ALWAYS:]
        looked_at = np.concatenate([self.always, chosen[:_NEW]])
        return RoundWatch(self, now, where, cohort, np.array(sorted(gone), dtype=np.int64),
                          looked_at, np.zeros(where.dims), source)

    def add(
        self, of: str, where: Layout, values: np.ndarray, stated: bool, alone: bool = True
    ) -> None:
        """Keep noise [dims] of a sum, or of one client."""
        self._residuals.append(Residual("|".join([*where.shapes, of]), values, stated, alone))

    def sketch(
        self, names: str, ids: np.ndarray, rows: np.ndarray, source: Source
    ) -> np.ndarray | None:
        """Keep some coordinates of what each client added, as unit vectors, and return them; None
        where there are too few. Which, the audit draws, and nobody knows before."""
        dims = rows.shape[1]
        if dims < FEWEST_ALIKE:
            return None
        coins = source.uniform(f"audit sketch {names}", 0, dims)
        chosen = rows[:, np.argsort(coins, kind="stable")[:_SKETCH]]
        sizes = np.sqrt(np.square(chosen).sum(axis=1, keepdims=True))
        found = chosen / np.where(sizes, sizes, 1.0)
        self._sketches.setdefault(names, []).append((ids, found))
        return found

    def again(self) -> float | None:
        """Return the p-value of the largest likeness between a client's noise and its own of other
        rounds; None where no client added any to the same coordinates twice."""
        found = []
        for blocks in self._sketches.values():
            ids = np.concatenate([block for block, _ in blocks])
            rows = np.concatenate([block for _, block in blocks])
            order = np.argsort(ids, kind="stable")
            ids, rows, apart, worst, tests = ids[order], rows[order], 1, 0.0, 0
            # Those of one client stand together: every distance compares one more pair of rounds.
            while (same := ids[apart:] == ids[:-apart]).any():
                likeness = np.abs(np.einsum("id,id->i", rows[apart:][same], rows[:-apart][same]))
                worst, tests = max(worst, float(likeness.max())), tests + int(same.sum())
                apart += 1
            if tests:
                found.append(correlated(worst, rows.shape[1], tests))
        return combined(found) if found else None

    def residuals(self) -> tuple[Residual, ...]:
        """Return all noise that was seen; that of all bits as one release."""
        bits = (Residual("bits", np.array(self.bits)),) if self.bits else ()
        return (*self._residuals, *bits)
