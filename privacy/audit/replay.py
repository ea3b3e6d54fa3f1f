"""Play rounds of a stack without its noise: does every upload enter once, and within the bound?

What the noise hides at a hundred clients, a replay shows at one: it is exact but for the rounding
of uploads, and its verdict is no matter of chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from privacy.aggregation.intercept import Tap, TappedAggregator
from privacy.aggregator import Task
from privacy.audit.canaries import Layout, canary_uploads, layout
from privacy.audit.fresh import steady
from privacy.ledger import Ledger
from privacy.randomness import Source
from privacy.sampling import Cohort, Everyone
from privacy.stack import PrivacyStack
from privacy.survivors import Survivors
from privacy.uploads import Part, Touched, Uploads

CLIP, RECOUNT = "clip", "recount"
# Lengths in clip norms, on both sides of every bound that a slip could have put in its place.
_LENGTHS = (0.5, 0.99, 1.01, 1.5, 2.0, 3.0, 7.9, 8.1, 20.0, 100.0)
_BLOCK = 15
SLACK = 1e-5  # of the bound: floating-point error of one clip


@dataclass
class _Leaving:
    """Keeps the longest vector that leaves a device, in the joint vector's scale.

    step: of the grid, whose integers are in that scale already; 0 for none.
    """

    where: Layout
    step: float
    longest: float = 0.0

    def attach(self, task: Task) -> Tap:
        return self._look

    def _look(self, ids: np.ndarray, uploads: Uploads) -> Uploads:
        rows = self.where.join_rows({n: p.dense() for n, p in uploads.items()}, self.step)
        self.longest = max(self.longest, float(np.linalg.norm(rows, axis=1).max()))
        return uploads


def replayed(
    stack: PrivacyStack, clients: int, rounds: Sequence[int], source: Source
) -> dict[str, float]:
    """Return 1 for what holds in rounds without noise, and 0 for what does not.

    clip: no upload of any length, dense, of one coordinate or of one release, leaves its device
    longer than the bound that the noise is made for. recount: the sum is that of all clipped
    uploads, each once. stack: one of its own, for its ledger is not used; everybody takes part, and
    a clip norm that moves stays where it began. rounds: those that are played. Empty without a
    mechanism, and where none of the rounds releases anything.
    """
    played = [_played(steady(stack, t + 1), t, clients, source) for t in rounds
              if stack.mechanism and any(r.in_round(t) for r in stack.releases)]
    return {name: min(found[name] for found in played) for name in (CLIP, RECOUNT) if played}


def _played(stack: PrivacyStack, round_: int, clients: int, source: Source) -> dict[str, float]:
    """One round of it."""
    mechanism = stack.mechanism
    assert mechanism is not None
    quiet = replace(mechanism, noise=mechanism.noise.remade(0.0, mechanism.noise.sensitivity))
    alone = replace(stack, mechanism=quiet, ledger=Ledger(), vault=None, sampling=Everyone(),
                    survivors=Survivors())
    now, active = alone.at(round_), [r for r in alone.releases if r.in_round(round_)]
    assert now is not None
    where, norm, step = layout(active, now), now.clip.clip_norm, now.scale.step
    leaving = _Leaving(where, step)
    alone = replace(alone, aggregator=TappedAggregator(stack.aggregator, leaving.attach))
    rows = _probes(where, clients, round_, source)
    expected = (rows * np.minimum(1.0, 1 / np.linalg.norm(rows, axis=1, keepdims=True))).sum(0)
    cohort = Cohort(round_, np.arange(clients), clients)
    gate = alone.open(cohort)
    for start in range(0, clients, _BLOCK):
        ids = cohort.ids[start : start + _BLOCK]
        sent = canary_uploads(active, where, rows[ids], norm)
        # Every other block in the form of touched rows, which is how tables are really sent.
        gate.submit(ids, sent if start % 2 else {n: _touched(p) for n, p in sent.items()})
    totals, _ = alone.finish(gate.close(), cohort, clients)
    # What is handed over client by client has no sum that could count anybody twice.
    summed = np.concatenate([np.full(int(np.prod(shape)), name in totals.sums)
                             for name, shape in where.shapes.items()])
    whole = {r.name: totals.sums.get(r.name, torch.zeros(r.shape)) for r in active}
    found, expected = where.join(whole)[summed] / norm, expected[summed]
    # A rounding moves a value by less than a step: by a quarter of its square on average.
    allowed = 1e-4 * clients + 4 * (step / norm) * np.sqrt(clients * len(found))
    return {CLIP: float(leaving.longest <= now.bound.l2 * (1 + SLACK)),
            RECOUNT: float(np.linalg.norm(found - expected) <= allowed)}


def _touched(part: Part) -> Part:
    """The same tables by their rows; what is no table stays as it is."""
    values = part.dense()
    if values.dim() != 3:
        return part
    clients, rows = values.shape[:2]
    index = torch.arange(rows).expand(clients, rows)
    return Touched(index, values, torch.ones(clients, rows), rows)


def _probes(where: Layout, clients: int, round_: int, source: Source) -> np.ndarray:
    """Vectors of all lengths, in clip norms [clients, dims]: dense, of one coordinate, of one
    release."""
    sizes = [int(np.prod(shape)) for shape in where.shapes.values()]
    dims, ends = sum(sizes), np.cumsum(sizes)
    out = source.normal("audit probes", round_, clients * dims).reshape(clients, dims)
    for row in range(clients):
        kind = row % 3
        if kind == 1:
            out[row] = 0.0
            out[row, (row * 7) % dims] = 1.0
        elif kind == 2:
            one = (row // 3) % len(sizes)
            out[row, : ends[one] - sizes[one]] = 0.0
            out[row, ends[one] :] = 0.0
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return out * np.array(_LENGTHS)[np.arange(clients) * 3 // 7 % len(_LENGTHS)][:, None]
