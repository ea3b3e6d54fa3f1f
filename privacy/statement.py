"""State what a run promises, in words and figures, before its first round and in its record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from privacy.accounting import epsilon, planned
from privacy.adaptive import AdaptiveClip
from privacy.charged import Charged
from privacy.dp_sgd import ZERO_OUT_INTERACTION, OnDevice
from privacy.ledger import Budget
from privacy.noise import SERVER_READS_ALL
from privacy.sampling import Everyone
from privacy.stack import PrivacyStack

NOT_COVERED = (
    "who takes part, and when (participation and timing)",
    "the choice of hyper-parameters and of this method",
    "other runs on the same users: what they promise adds up",
    "training loss, validation and test metrics, group sizes, numbers of unusable or shortened "
    "uploads, bytes and seconds, size and hash of the data set, baselines: figures of the "
    "experimenter, which no client sends",
    "what a user's own device shows to those who hold the device",
)
_ON_DEVICE = (
    "nobody is trusted: each device adds noise in every training step, so the figure holds against "
    "the server and everybody else, for one interaction and not for the whole user; the device's "
    "own scores use a user vector trained without noise, which never leaves it"
)


@dataclass(frozen=True)
class Statement:
    """Hold the promise of a run; every epsilon with unit, adjacency, trust and whom it holds
    against.

    noise_multiplier: of an even split of the budget. noise_multipliers: of each round, where the
    split is not even.
    """

    unit: str
    adjacency: str
    trust: str
    trust_means: str
    epsilon: float | None
    delta: float | None
    epsilon_vs_observers: float | None
    epsilon_vs_server: float | None
    epsilon_if_participation_is_seen: float | None
    rounds: int
    noise_multiplier: float | None
    clip_norm: float | None
    noise_source: str
    best_signal_to_noise: float | None
    not_covered: tuple[str, ...]
    reason: str
    aggregation: str
    server_sees: str
    clipping: str = "fixed"
    releases: int | None = None
    noise_kind: str = ""
    coalitions: tuple[tuple[str, str], ...] = ()
    spare_rounds: int = 0
    noise_multipliers: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the statement as JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the statement in sentences, for people to read."""
        if self.epsilon is None:
            return [f"epsilon: none ({self.reason})", *self._conspiring()]
        # Records from before the kind was stated hold two kinds, told apart by who is trusted.
        kind = self.noise_kind or (
            "discrete Gaussian" if self.trust == "distributed" else "Gaussian")
        out = [
            f"epsilon {self.epsilon:.4g}, delta {self.delta:.3g}, {self.unit} level, against "
            "everybody who sees only releases",
            f"adjacency: {self.adjacency}",
            f"trust: {self.trust}: {self.trust_means}",
            f"mechanism: {self.releases or self.rounds} {kind} releases, noise "
            f"{self._multipliers()}, clip norm {self.clip_norm:g}, "
            f"noise source {self.noise_source}" + (
                f"; {self.spare_rounds} of them for attempts that are aborted"
                if self.spare_rounds else ""),
            "against the server: " + (
                "none, it is trusted" if self.epsilon_vs_server is None
                else f"epsilon {self.epsilon_vs_server:.4g}"),
            f"aggregation: {self.aggregation}: the server sees {self.server_sees}",
            *self._conspiring(),
            "not covered: " + "; ".join(self.not_covered),
        ]
        if self.clipping != "fixed":
            out.insert(4, self.clipping)
        if self.best_signal_to_noise is not None:
            out.insert(5, "first release: length of the sum over length of the noise at most "
                           f"{self.best_signal_to_noise:.2f}")
        if self.epsilon_if_participation_is_seen != self.epsilon:
            out.insert(5, "against those who see who takes part: epsilon "
                          f"{self.epsilon_if_participation_is_seen:.4g}")
        # A word of it: of updates and of group statistics each way is named.
        if "ring" in self.aggregation.replace(",", " ").split() and self.trust == "distributed":
            out.append("sums are simulated without masks: the figure against the server is that of "
                       "the full protocol")
        if self.noise_source == "simulation":
            out.append("the noise follows from the seed: this run shows what the mechanism costs, "
                       "and protects nobody whose data is real")
        elif self.noise_source.endswith("float64"):
            out.append("the noise is floating-point: not hardened against attacks on its last bits "
                       "(Mironov, CCS 2012)")
        return out

    def _multipliers(self) -> str:
        if not self.noise_multipliers:
            return f"multiplier {self.noise_multiplier:.4f}"
        return ("multipliers " + ", ".join(f"{z:.4f}" for z in self.noise_multipliers)
                + " round by round")

    def _conspiring(self) -> list[str]:
        return [f"who must conspire to read one client: {who}: {reads}"
                for who, reads in self.coalitions]


def promised_charges(
    stack: PrivacyStack, rounds: int, population: int, dims: int
) -> Sequence[Charged]:
    """Return the entries that a private stack leaves in its ledger if all rounds are played.

    dims: as for `state`. There are none where a stack adds no noise.
    """
    if stack.on_device is not None:
        device = stack.on_device
        return planned(device.noise_multiplier, rounds * device.steps, Everyone(), population
                       ) if device.noise_multiplier else []
    mechanism = stack.mechanism
    if mechanism is None or not mechanism.noise.noise_multiplier:
        return []
    # Where a price depends on how many values there are, the round with most of them decides.
    noise, terms = mechanism.noise, mechanism.terms(max(dims, stack.most_values()))
    return planned(noise.noise_multiplier, rounds, stack.sampling, population,
                   event=noise.event(stack.sampling), terms=terms, portions=stack.portions)


def state(
    stack: PrivacyStack, budget: Budget | None, rounds: int, population: int, dims: int,
    spare: int = 0,
) -> Statement:
    """Make the statement of a stack.

    rounds: attempts that the budget pays for. dims: values of the first release. spare: how many
    of the attempts are for rounds that are aborted.
    """
    return replace(_state(stack, budget, rounds, population, dims), spare_rounds=spare)


def _state(
    stack: PrivacyStack, budget: Budget | None, rounds: int, population: int, dims: int
) -> Statement:
    if stack.on_device is not None:
        return _on_device(stack, stack.on_device, budget, rounds, population)
    mechanism, sampling = stack.mechanism, stack.sampling
    multiplier = mechanism.noise.noise_multiplier if mechanism else 0.0
    if mechanism is None or budget is None or not multiplier:
        nothing = not stack.releases
        shown = ("the server learns exact sums over the cohort" if stack.aggregator.hides_clients
                 else "the server reads them in the clear")
        reason = ("nothing leaves the clients" if nothing else
                  f"no privacy is claimed: uploads carry no noise and {shown}, so every release is "
                  "charged as NonPrivate (epsilon is infinite)")
        if single := [r.name for r in stack.releases if r.kind == "individual"]:
            reason += f"; the server reads every client's own {', '.join(single)}"
        zero = 0.0 if nothing else None
        return Statement(
            "user", sampling.adjacency, "central", SERVER_READS_ALL, zero, zero, zero, zero, zero,
            rounds, None, mechanism.clip.clip_norm if mechanism else None, "none", None,
            NOT_COVERED, reason, *_server(stack), coalitions=_coalitions(stack, population))
    # Where a price depends on how many values there are, the round with most of them decides.
    noise, terms = mechanism.noise, mechanism.terms(max(dims, stack.most_values()))
    event, seen_event = noise.event(sampling), noise.event(Everyone())
    claimed = epsilon(promised_charges(stack, rounds, population, dims), budget.delta)
    # A member who is seen to take part is not amplified, and moves the sum by as many bounds as the
    # adjacency that is claimed lets it: two where a member is replaced.
    seen = epsilon(planned(
        multiplier * seen_event.factor / event.factor, rounds, Everyone(), population,
        event=seen_event, terms=terms, portions=stack.portions), budget.delta)
    size = sampling.rate * population
    length = stack.portions.multiplier(multiplier, 0) * math.sqrt(
        dims * noise.variances_on_sum(size))
    aggregation, server_sees = _server(stack)
    return Statement(
        unit="user",
        adjacency=event.adjacency or sampling.adjacency,
        trust=noise.place,
        trust_means=noise.trust(stack.aggregator.hides_clients),
        epsilon=claimed,
        delta=budget.delta,
        epsilon_vs_observers=claimed,
        epsilon_vs_server=claimed if noise.against_server else None,
        epsilon_if_participation_is_seen=seen,
        rounds=rounds,
        noise_multiplier=multiplier,
        clip_norm=mechanism.clip.clip_norm,
        noise_source=_source_name(stack, noise.numbers),
        best_signal_to_noise=size / length,
        not_covered=NOT_COVERED,
        reason=noise.reason,
        aggregation=aggregation,
        server_sees=server_sees,
        clipping=_clipping(stack.clipper),
        noise_kind=noise.kind,
        coalitions=_coalitions(stack, population),
        noise_multipliers=tuple(stack.portions.multiplier(multiplier, t)
                                for t in range(len(stack.portions.weights))),
    )


def _server(stack: PrivacyStack) -> tuple[str, str]:
    aggregator, mechanism = stack.aggregator, stack.mechanism
    sees = aggregator.server_sees if stack.releases else "nothing"
    if mechanism and mechanism.server_adds_noise and not aggregator.hides_clients:
        sees += "; where it reads an upload it clips it again before it adds it"
    return aggregator.name, sees


def _coalitions(stack: PrivacyStack, population: int) -> tuple[tuple[str, str], ...]:
    """Who must conspire to read one client's upload, in cohorts of the size to be expected."""
    if not stack.releases:
        return ()
    size = max(round(stack.sampling.rate * population), 1)
    return tuple((row.who, row.reads) for row in stack.aggregator.coalitions(size))


def _source_name(stack: PrivacyStack, kind: str) -> str:
    name = stack.source.name
    return name if name == "simulation" else f"{name}-{kind}"


def _clipping(clipper: AdaptiveClip | None) -> str:
    if clipper is None:
        return "fixed"
    rule = clipper.rule
    return (f"adaptive clip: from the norm above, after each round towards the norm that leaves "
            f"{rule.quantile:.0%} of the clients unclipped, between {rule.smallest:g} and "
            f"{rule.largest:g}; the share is released with the sums, its noise (standard deviation "
            f"{rule.bit_stddev:g} clients) paid from the same budget")


def _on_device(
    stack: PrivacyStack, device: OnDevice, budget: Budget | None, rounds: int, population: int
) -> Statement:
    claimed, steps = None, rounds * device.steps
    reason = "no privacy is claimed: the devices train without noise"
    if budget is not None and device.noise_multiplier:
        claimed = epsilon(promised_charges(stack, rounds, population, 0), budget.delta)
        reason = ("Gaussian noise calibrated before training, in each of a device's "
                  f"{device.steps} training steps of a round")
    aggregation, server_sees = _server(stack)
    return Statement(
        unit="interaction",
        adjacency=ZERO_OUT_INTERACTION,
        trust="local",
        trust_means=_ON_DEVICE,
        epsilon=claimed,
        delta=budget.delta if claimed is not None and budget else None,
        epsilon_vs_observers=claimed,
        epsilon_vs_server=claimed,
        epsilon_if_participation_is_seen=claimed,
        rounds=rounds,
        noise_multiplier=device.noise_multiplier or None,
        clip_norm=device.clip_norm,
        noise_source=_source_name(stack, "float64") if claimed is not None else "none",
        best_signal_to_noise=None,
        not_covered=(
            "a user's interactions together: k of one user's are protected k-fold less, in the "
            "measure mu of which epsilon follows", *NOT_COVERED),
        reason=reason,
        aggregation=aggregation,
        server_sees=server_sees,
        releases=steps,
        coalitions=_coalitions(stack, population),
    )
