"""Build the privacy stack: the one gate through which anything leaves a client, and its books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from privacy.adaptive import QUANTILE, AdaptiveClip
from privacy.aggregator import Aggregator, GridNoise, Session, Sums, Task, dims
from privacy.bounds import ChainError
from privacy.charged import Terms
from privacy.dp_sgd import LOCAL_TRAINING, OnDevice, keep_devices, restore_devices
from privacy.events import NON_PRIVATE
from privacy.ledger import Charge, Entry, Ledger, Status, together
from privacy.plain import PlainAggregator
from privacy.portions import EVEN, Portions
from privacy.randomness import Source, SystemSource
from privacy.releases import Release, turns
from privacy.sampling import Cohort, Everyone, Sampling
from privacy.survivors import Survivors
from privacy.transforms import Mechanism
from privacy.uploads import Collected, LowRank, UploadError, Uploads

JOINT = "joint"


@dataclass(frozen=True)
class Totals:
    """Hold what the algorithm may compute on: sums by release name, individual releases, the
    cohort.

    cohort: the public number of clients that every average is divided by. noise_stddev: release ->
    absolute standard deviation of the noise on its sum that was promised; empty without noise.
    """

    sums: Mapping[str, Tensor]
    individual: Mapping[str, Collected]
    cohort: float
    noise_stddev: Mapping[str, float] = field(default_factory=dict)


class Vault(Protocol):
    """Keep a round's released sums, so that a round played again is not released again."""

    def put(self, round_: int, sums: Mapping[str, Tensor]) -> None:
        """Make the sums durable, before the round is charged."""
        ...

    def get(self, round_: int) -> Mapping[str, Tensor] | None:
        """Return the sums of a round that was put, None for another round."""
        ...


@dataclass(frozen=True)
class PrivacyStack:
    """Hold declared releases, who takes part, how uploads are protected and summed, and the ledger.

    mechanism None: uploads leave as they are, and every release is charged as NonPrivate.
    on_device says that each device trained with noise. clipper: moves the mechanism's clip norm
    from round to round. survivors: how many clients may vanish in a round, and which do in a
    simulation. portions: how the budget is split between rounds; the mechanism's noise is that of
    an even split.
    """

    releases: tuple[Release, ...]
    ledger: Ledger
    sampling: Sampling = field(default_factory=Everyone)
    aggregator: Aggregator = field(default_factory=PlainAggregator)
    mechanism: Mechanism | None = None
    source: Source = field(default_factory=SystemSource)
    vault: Vault | None = None
    survivors: Survivors = field(default_factory=Survivors)
    clipper: AdaptiveClip | None = None
    on_device: OnDevice | None = None
    portions: Portions = EVEN

    def __post_init__(self) -> None:
        names = [release.name for release in self.releases]
        if len(set(names)) != len(names):
            raise ValueError(f"release names must be unique, got {names}")
        if self.on_device is not None:
            self.on_device.fits(self.releases, self.mechanism is not None, self.sampling)
        if self.mechanism is None:
            if self.aggregator.hides_clients:
                raise ChainError(f"{self.aggregator.name} sums integers: give the stack a "
                                 "mechanism with a quantise step")
            return
        if self.aggregator.hides_clients and self.mechanism.quantise is None:
            raise ChainError(f"{self.aggregator.name} sums integers: add a quantise step")
        noise = self.mechanism.noise
        if noise.needs_secure_sum and not self.aggregator.hides_clients:
            raise ChainError(f"{noise.place} noise needs a secure sum of every release; plain "
                             "aggregation shows the server each client with its share alone")
        if self.clipper is not None:
            if self.portions.weights:
                raise ChainError("an adaptive clip learns as much from every round: split the "
                                 "budget evenly, or use a fixed clip")
            self.clipper.mechanism(self.mechanism, 0)
        weighted = self.mechanism.clip.weights.keys()
        if weighted != set(names):
            odd = sorted(weighted ^ set(names))
            raise ChainError(f"weights and declared releases differ in {', '.join(odd)}")
        alone = [r.name for r in self.releases if r.kind == "individual"]
        if alone and not noise.place.alone:
            raise ChainError(f"release {alone[0]!r} hands the server every client's own vector; "
                             "noise on a sum cannot protect it")

    def draw(self, population: int, round_: int) -> Cohort:
        """Draw who takes part in a round."""
        return self.sampling.draw(population, round_, self.source)

    def admit(self, cohort: Cohort, population: int) -> None:
        """Check a round before anything is uploaded. Raises BudgetError for one that would
        overspend."""
        private = self.mechanism is not None or self.on_device is not None
        if private and not self.ledger.released(cohort.round):
            self.ledger.check(self.charged(cohort, population))

    def task(
        self, cohort: Cohort, plan_hash: bytes = b"", attempt: int | None = None
    ) -> Task:
        """Return what a round is about; plan_hash: hash of the plan, which is what the clients are
        told.

        attempt: for a party that holds no ledger; None: as often as the ledger says. Raises
        CapacityError where the round's sum might leave the ring, ChainError where fewer clients
        may be in it than its distributed noise is provisioned for.
        """
        attempt = self.ledger.attempt(cohort.round) if attempt is None else attempt
        active = [r for r in self.releases if r.in_round(cohort.round)]
        mechanism, shaped, limit = self.at(cohort.round), active, 0.0
        if mechanism:
            shaped = [replace(r, shape=mechanism.shape(r)) for r in active]
            shaped += [self.clipper.release] if self.clipper else []
        if mechanism and mechanism.quantise:
            limit = mechanism.largest(len(cohort.ids))
        fewest = self.survivors.min_survivors(len(cohort.ids))
        honest = mechanism.noise.honest if mechanism else 0
        if fewest < honest:
            raise ChainError(f"a sum of {fewest} clients may be released, and the noise is made "
                             f"for {honest} shares: tolerate fewer dropouts")
        return Task(
            cohort, tuple(shaped), fewest, attempt, plan_hash,
            bool(limit), limit, self._key_holder_noise(mechanism, _label(cohort, attempt)),
            mechanism.clip_again if mechanism and mechanism.server_adds_noise else None,
            self.survivors.dropouts(cohort, attempt),
        )

    def open(
        self, cohort: Cohort, plan_hash: bytes = b"", attempt: int | None = None
    ) -> Gate:
        """Open the gate of one round; the arguments, and what is raised, are those of `task`."""
        task = self.task(cohort, plan_hash, attempt)
        active = [r for r in self.releases if r.in_round(cohort.round)]
        return Gate(active, self.aggregator.open(task), self.at(cohort.round), self.source, task)

    def _key_holder_noise(self, mechanism: Mechanism | None, label: int) -> GridNoise | None:
        if mechanism is None or mechanism.quantise is None or not mechanism.noise.place.on_sum:
            return None
        return lambda total, name: mechanism.grid_noise(total, self.source, name, label)

    def at(self, round_: int) -> Mechanism | None:
        """Return the mechanism of a round."""
        if self.mechanism is None:
            return None
        if self.clipper is not None:
            return self.clipper.mechanism(self.mechanism, round_)
        return self.portions.mechanism(self.mechanism, round_)

    def finish(
        self, sums: Sums, cohort: Cohort, population: int,
        devices: Mapping[str, Tensor] | None = None,
    ) -> tuple[Totals, tuple[Entry, ...]]:
        """Add the noise of a central mechanism, charge the round, then hand the totals out.

        Raises BudgetError, with nothing handed out, where the budget would be overspent. A round
        that is in the ledger already is handed out as it was then: no second noise for one sum.
        devices: what noisy training left on the devices, kept with the sums and then put back in
        place with them: training again would be a second release.
        """
        mechanism = self.at(cohort.round)
        if mechanism is None and self.on_device is None:
            names = [r.name for r in self.releases if r.in_round(cohort.round)]
            known = {e.name for e in self.ledger.released(cohort.round)}
            entries = tuple(self.ledger.charge(self._charge(n, cohort, population))
                            for n in names if n not in known)
            return Totals(sums.sums, sums.individual, cohort.denominator), entries
        before = self.ledger.released(cohort.round)
        # What was kept but not charged, for the process was killed between, is charged now.
        kept = self.vault.get(cohort.round) if self.vault else None
        if before and kept is None:
            raise UploadError(f"round {cohort.round} was charged, but what it released is not kept "
                              "here; a second release would need a second charge: start a new run")
        charges = self._charges(cohort, population)
        if kept is None:
            # Refused before there is anything that could be released.
            self.ledger.check(together(charges))
            kept = dict(sums.sums)
            if mechanism is not None:
                kept = mechanism.on_sum(
                    sums.sums, self.source,
                    _label(cohort, self.ledger.attempt(cohort.round)), sums.noised)
            if self.vault:
                self.vault.put(cohort.round, keep_devices(kept, devices))
        else:
            kept = restore_devices(kept, devices)
        # Killed between two charges, the second is still due.
        known = {e.name for e in before}
        before += tuple(self.ledger.charge(c) for c in charges if c.name not in known)
        totals = {name: x for name, x in kept.items() if name != QUANTILE}
        if self.clipper is not None:
            self.clipper.learn(cohort.round, kept[QUANTILE], cohort.denominator)
        if mechanism is not None and mechanism.project:
            totals = mechanism.project.expand(totals)
        noise = mechanism.noise_on_sums(len(cohort.ids)) if mechanism else {}
        return Totals(totals, {}, cohort.denominator, noise), before

    def charged(self, cohort: Cohort, population: int) -> Charge:
        """Return what one attempt at a round is charged, all its releases together.

        Without a mechanism that is a release without a bound."""
        if self.mechanism is None and self.on_device is None:
            return self._charge(JOINT, cohort, population)
        return together(self._charges(cohort, population))

    def kept(self, round_: int) -> bool:
        """Tell whether `finish` hands out what a round released before, whatever sums it is
        given."""
        vaulted = self.vault is not None and self.vault.get(round_) is not None
        return vaulted or bool(self.ledger.released(round_))

    def abort(self, cohort: Cohort, population: int) -> None:
        """Charge a round that failed after clients had uploaded."""
        private = self.mechanism is not None or self.on_device is not None
        if private and not self.ledger.released(cohort.round):
            self.ledger.charge(replace(self.charged(cohort, population), status="aborted"))

    def _charges(self, cohort: Cohort, population: int) -> list[Charge]:
        """What a protected round is charged: its joint vector, or the steps on the devices, and the
        clip bits where the clip norm moves."""
        if self.on_device is not None:
            whole = self._charge(LOCAL_TRAINING, cohort, population)
            return [self.on_device.charged(whole)]
        joint = self._charge(JOINT, cohort, population)
        if self.clipper is None:
            return [joint]
        bits = replace(joint, name=QUANTILE)
        if joint.noise_multiplier is not None:
            bits = replace(bits, noise_multiplier=2 * self.clipper.rule.bit_stddev)
        return [joint, bits]

    def _charge(
        self, name: str, cohort: Cohort, population: int, status: Status = "released"
    ) -> Charge:
        event, multiplier, clip, terms = NON_PRIVATE, None, None, Terms()
        mechanism = self.at(cohort.round)
        if mechanism:
            clip = mechanism.clip.clip_norm
            if mechanism.noise.noise_multiplier:
                event = mechanism.noise.event(self.sampling).name
                # The price follows from what the noise hides: the whole bound of the chain.
                multiplier = mechanism.noise.stddev / mechanism.bound.l2
                terms = mechanism.terms(self.values(cohort.round))
        return Charge(
            round=cohort.round, name=name, event=event, noise_multiplier=multiplier,
            clip_norm=clip, sampling_rate=self.sampling.rate, population=population,
            cohort=len(cohort.ids), status=status, shares=terms.shares, dims=terms.dims,
            limit=terms.limit,
        )

    def values(self, round_: int) -> int:
        """Return how many values a client's vector has in a round, as it leaves the device."""
        shape = self.mechanism.shape if self.mechanism else (lambda r: r.shape)
        return dims([replace(r, shape=shape(r)) for r in self.releases if r.in_round(round_)])

    def most_values(self) -> int:
        """Return how many values a client's vector has in the round with most of them."""
        return max(self.values(t) for t in turns(self.releases))


class Gate:
    """Take uploads of blocks of clients, and refuse what was not declared.

    zeroed, shortened: clients whose upload was unusable, or longer than the clip. Known where one
    process plays all clients; no client sends them.
    """

    def __init__(
        self, releases: Sequence[Release], session: Session, mechanism: Mechanism | None,
        source: Source, task: Task,
    ) -> None:
        self._releases = {release.name: release for release in releases}
        self._session = session
        self._mechanism = mechanism
        self._source = source
        self._label = _label(task.cohort, task.attempt)
        self._vanished = np.array(sorted(task.vanished()), dtype=np.int64)
        self.zeroed = 0
        self.shortened = 0

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        """Pass on the uploads of a block of clients, ids [block], protected.

        Raises UploadError for an undeclared or misshapen part, and without a clip for values that
        are not finite.
        """
        if uploads.keys() != self._releases.keys():
            odd = sorted(uploads.keys() ^ self._releases.keys())
            raise UploadError(f"uploads and declared releases differ in {', '.join(odd)}")
        for name, part in uploads.items():
            declared = self._releases[name].shape
            if part.shape() != declared:
                raise UploadError(f"release {name!r} is declared as {declared}, got {part.shape()}")
            if part.clients() != len(ids):
                raise UploadError(f"release {name!r} carries {part.clients()} clients, "
                                  f"not {len(ids)}")
            if self._mechanism is None and not part.finite():
                raise UploadError(f"release {name!r} holds NaN or infinity; "
                                  "lower the learning rates or check the features")
        if self._mechanism is not None:
            clipped = self._mechanism.on_clients(uploads, ids, self._source, self._label)
            self.zeroed += int(clipped.zeroed.sum())
            self.shortened += int(clipped.shortened.sum())
            uploads = clipped.uploads
        # Factors never pass: a clip drops them, and where there is none they are dropped here.
        uploads = {n: p.table() if isinstance(p, LowRank) else p for n, p in uploads.items()}
        here = ~np.isin(ids, self._vanished)
        if not here.all():
            where = torch.from_numpy(np.flatnonzero(here))
            ids, uploads = ids[here], {n: part.rows(where) for n, part in uploads.items()}
        if len(ids):
            self._session.submit(ids, uploads)

    def close(self) -> Sums:
        """End the round and return its sums."""
        return self._session.close()


def _label(cohort: Cohort, attempt: int) -> int:
    """A number of its own for every attempt at a round: no two of them share noise."""
    return cohort.round + (attempt << 32)
