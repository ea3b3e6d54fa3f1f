"""A masked round that tests drive step by step, with every party its own object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from privacy.aggregation.masked import Floor, MaskedClient, MaskedServer, MaskedSum, RoundTerms
from privacy.aggregation.messages import Message, Transcript
from privacy.crypto import Directory, Identity

NOBODY: frozenset[int] = frozenset()
STEPS = ("advert", "shares", "masked", "signature", "unmask")


@dataclass
class Table:
    """All parties of one round. Clients are numbered 10, 13, 16, ..., so no number is a place."""

    n: int = 6
    degree: int = 5
    threshold: int = 3
    dims: int = 16
    min_survivors: int = 4
    run: bytes = b"a run"
    round: tuple[int, int] = (4, 1)
    transcript: Transcript = field(default_factory=Transcript)

    def __post_init__(self) -> None:
        cohort = tuple(range(10, 10 + 3 * self.n, 3))
        self.terms = RoundTerms(
            self.run, *self.round, cohort, self.dims, self.degree, self.threshold,
            self.min_survivors, b"the plan's hash", bytes(32),
        )
        self.floor = Floor(self.threshold, self.min_survivors, self.degree)
        self.identities = {c: Identity.generate(c) for c in cohort}
        # One registered client outside the cohort, to be a stranger that can sign.
        self.stranger = Identity.generate(999)
        self.directory = Directory.of([*self.identities.values(), self.stranger])
        self.server = MaskedServer(self.terms, self.directory)
        self.clients = {c: self.client(c) for c in cohort}
        drawn = np.random.default_rng(self.n)
        self.vectors = {
            c: drawn.integers(0, 2**32, self.dims, dtype=np.uint32) for c in cohort
        }
        self.routed: dict[int, Message] = {}
        self.step = 0

    def client(self, number: int, terms: RoundTerms | None = None) -> MaskedClient:
        return MaskedClient(
            self.identities[number], terms or self.terms, self.directory, self.floor
        )

    def answer(self, client: MaskedClient) -> Message:
        """A client's message of the present step."""
        stage = STEPS[self.step]
        if stage == "advert":
            return client.advertise()
        if stage == "masked":
            client.receive_shares(self.routed[client.number])
            return client.mask(self.vectors[client.number])
        step = {"shares": client.share, "signature": client.sign, "unmask": client.unmask}[stage]
        return step(self.routed[client.number])

    def asked(self) -> list[int]:
        return list(self.clients) if self.step == 0 else list(self.routed)

    def send(self, message: Message) -> None:
        self.transcript.record(message)
        self.server.receive(message)

    def advance(self) -> None:
        """The server ends the step."""
        route = (self.server.route_adverts, self.server.route_shares,
                 self.server.announce_survivors, self.server.route_signatures)[self.step]
        messages = route()
        for message in messages:
            self.transcript.record(message)
        self.routed = {m.receiver: m for m in messages}
        self.step += 1

    def until(self, stage: str, vanish: Mapping[str, frozenset[int]] | None = None) -> Table:
        """Run all steps before a stage; the routed messages of the stage wait in `routed`."""
        while STEPS[self.step] != stage:
            self.all_answer(vanish)
            self.advance()
        return self

    def all_answer(self, vanish: Mapping[str, frozenset[int]] | None = None) -> None:
        gone = (vanish or {}).get(STEPS[self.step], NOBODY)
        for number in self.asked():
            if number not in gone:
                self.send(self.answer(self.clients[number]))

    def finish(self, vanish: Mapping[str, frozenset[int]] | None = None) -> MaskedSum:
        self.until("unmask", vanish)
        self.all_answer(vanish)
        return self.server.finish()

    def sum_of(self, numbers: np.ndarray) -> np.ndarray:
        total = np.zeros(self.dims, dtype=np.uint32)
        for number in numbers.tolist():
            total += self.vectors[number]
        return total

    def check(self, opened: MaskedSum, missing: frozenset[int] = NOBODY) -> None:
        assert opened.survivors.tolist() == [c for c in self.terms.cohort if c not in missing]
        assert (opened.total == self.sum_of(opened.survivors)).all()

    def other_terms(self, **changes: object) -> RoundTerms:
        return replace(self.terms, **changes)  # type: ignore[arg-type]


@pytest.fixture
def table() -> Callable[..., Table]:
    return Table
