"""One masked round with all its parties in one process, for simulations.

The exchanges are rounds 0 to 4 of Bonawitz et al. (CCS 2017), Figure 4: `open` makes 0 and 1,
blocks of vectors are 2, `close` makes 3 and 4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from privacy.aggregation.masked import codec
from privacy.aggregation.masked.client import MaskedClient
from privacy.aggregation.masked.server import MaskedServer
from privacy.aggregation.masked.terms import Floor, RoundTerms
from privacy.aggregation.messages import SERVER, Message, Transcript
from privacy.crypto.keys import Directory, Identity, KeyPair, derive_pair_key, verify_signature
from privacy.crypto.prg import MaskStream

# Stage -> clients that vanish before they send that stage's message, and stay away.
Dropouts = Mapping[str, frozenset[int]]
STAGES = (codec.ADVERT, codec.SHARES, codec.MASKED, codec.SIGNATURE, codec.UNMASK)


class Remembered:
    """Keep signature checks and pair keys that a process full of clients need not compute twice.

    A signature that twenty neighbours check is the same check twenty times, and both ends of a
    pair derive one key. Real clients cannot share either, so this is for `MaskedRound` alone;
    `reused` counts what real clients would have had to compute on top.
    """

    def __init__(self) -> None:
        self._checks: dict[tuple[bytes, bytes, bytes], bool] = {}
        self._pairs: dict[tuple[bytes, bytes, bytes], bytes] = {}
        self.checks = self.derivations = self.reused_checks = self.reused_derivations = 0

    def verify(self, verify_key: bytes, signature: bytes, message: bytes) -> bool:
        """Tell what `verify_signature` tells."""
        asked = (verify_key, signature, message)
        good = self._checks.get(asked)
        if good is None:
            good = self._checks[asked] = verify_signature(verify_key, signature, message)
            self.checks += 1
        else:
            self.reused_checks += 1
        return good

    def derive(self, own: KeyPair, peer: bytes, info: bytes, length: int) -> bytes:
        """Return what `derive_pair_key` gives; a key is forgotten when its second end has taken it.
        """
        key = self._pairs.pop((peer, own.public, info), None)
        if key is None or len(key) != length:
            key = derive_pair_key(own, peer, info, length)
            self._pairs[(own.public, peer, info)] = key
            self.derivations += 1
        else:
            self.reused_derivations += 1
        return key


@dataclass(frozen=True)
class RoundResult:
    """Hold what a round opened, and what it cost.

    total: uint32 [dims], the sum modulo 2**32 over the survivors. survivors: the numbers of the
    clients in it, ascending. bytes_up, bytes_down: client number -> bytes that it sent, received.
    seconds: CPU seconds of all clients and of the server, by step, `client masked` and so on.
    """

    total: np.ndarray
    survivors: np.ndarray
    bytes_up: Mapping[int, int]
    bytes_down: Mapping[int, int]
    seconds: Mapping[str, float]

    def seconds_of(self, party: str) -> float:
        """Return the CPU seconds of `client` (all of them) or `server`."""
        return sum(s for name, s in self.seconds.items() if name.startswith(party))


@dataclass
class MaskedRound:
    """Play one masked round: `open`, then `submit` block by block, then `close`.

    Every step may raise RoundAborted.

    terms: the terms of the round, with the plan's hash; every party is given these same terms.
    identities: the clients' keys by number. directory: the verify keys of all of them. dropouts:
    stage -> the clients that vanish before they send that stage's message. transcript: records
    every message; without it, sizes alone are counted. stream: a buffer of terms.dims to be reused
    from round to round. Raises ValueError for a stage of dropouts that there is not.
    """

    terms: RoundTerms
    identities: Mapping[int, Identity]
    directory: Directory
    dropouts: Dropouts = field(default_factory=dict)
    transcript: Transcript | None = None
    stream: MaskStream | None = None

    def __post_init__(self) -> None:
        unknown = set(self.dropouts) - set(STAGES)
        if unknown:
            raise ValueError(f"no stage is called {unknown.pop()}: stages are {', '.join(STAGES)}")
        self.remembered = Remembered()
        self._stream = MaskStream(self.terms.dims) if self.stream is None else self.stream
        self._floor = Floor(self.terms.threshold, self.terms.min_survivors, self.terms.degree)
        self._clients: dict[int, MaskedClient] = {}
        self._ready: set[int] = set()
        self._gone: set[int] = set()
        self._bytes_up = dict.fromkeys(self.terms.cohort, 0)
        self._bytes_down = dict.fromkeys(self.terms.cohort, 0)
        self._seconds: dict[str, float] = {}

    def open(self) -> None:
        """Exchange adverts and shares of all clients, before any vector is there (rounds 0 and 1).
        """
        with self._timed("server advert"):
            self._server = MaskedServer(self.terms, self.directory, self.remembered.verify)
        with self._timed("client advert"):
            staying = self._staying(codec.ADVERT, self.terms.cohort)
            for number in staying:
                self._clients[number] = MaskedClient(
                    self.identities[number], self.terms, self.directory, self._floor,
                    self.remembered.verify, self.remembered.derive,
                )
            sent = [self._clients[number].advertise() for number in staying]
        self._to_server("advert", sent)
        routed = self._routed("advert", self._server.route_adverts)
        self._to_server("shares", self._answers("shares", codec.SHARES, routed, MaskedClient.share))
        routed = self._routed("shares", self._server.route_shares)
        with self._timed("client shares"):
            for message in routed:
                self._clients[message.receiver].receive_shares(message)
        self._ready = {m.receiver for m in routed}

    def submit(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Mask and send the vectors of a block of clients (round 2): ids int [block], vectors
        uint32 [block, dims].

        The vectors of clients that dropped out before are not sent. Raises ValueError for a
        client outside the cohort, ProtocolError for one that submits twice.
        """
        if vectors.shape != (len(ids), self.terms.dims):
            raise ValueError(f"vectors must be [{len(ids)}, {self.terms.dims}]")
        numbers = ids.tolist()
        if not self.terms.position.keys() >= set(numbers):
            raise ValueError("a vector came for a client outside the cohort")
        staying = set(self._staying(codec.MASKED, numbers)) & self._ready
        client, server = 0.0, 0.0
        for number, vector in zip(numbers, vectors, strict=True):
            if number not in staying:
                continue
            start = time.process_time()
            message = self._clients[number].mask(vector, self._stream)
            middle = time.process_time()
            self._record(message)
            self._server.receive(message)
            client += middle - start
            server += time.process_time() - middle
        self._count("client masked", client)
        self._count("server masked", server)

    def close(self) -> RoundResult:
        """Gather the survivors' signatures, then their shares, and return the one sum (rounds 3 and
        4).

        A client of the cohort for which nothing was submitted has dropped out.
        """
        routed = self._routed("masked", self._server.announce_survivors)
        sent = self._answers("signature", codec.SIGNATURE, routed, MaskedClient.sign)
        self._to_server("signature", sent)
        routed = self._routed("signature", self._server.route_signatures)
        sent = self._answers("unmask", codec.UNMASK, routed, MaskedClient.unmask)
        self._to_server("unmask", sent)
        with self._timed("server unmask"):
            opened = self._server.finish(self._stream)
            self._stream.wipe()
        return RoundResult(
            opened.total, opened.survivors, self._bytes_up, self._bytes_down, self._seconds)

    def _staying(self, stage: str, numbers: Iterable[int]) -> list[int]:
        self._gone |= self.dropouts.get(stage, frozenset())
        return [n for n in numbers if n not in self._gone]

    def _answers(
        self, step: str, stage: str, routed: Sequence[Message],
        answer: Callable[[MaskedClient, Message], Message],
    ) -> list[Message]:
        with self._timed(f"client {step}"):
            staying = set(self._staying(stage, [m.receiver for m in routed]))
            return [answer(self._clients[m.receiver], m) for m in routed if m.receiver in staying]

    def _to_server(self, step: str, messages: Iterable[Message]) -> None:
        with self._timed(f"server {step}"):
            for message in messages:
                self._record(message)
                self._server.receive(message)

    def _routed(self, step: str, route: Callable[[], list[Message]]) -> list[Message]:
        with self._timed(f"server {step}"):
            messages = route()
            for message in messages:
                self._record(message)
        return messages

    def _record(self, message: Message) -> None:
        if message.sender == SERVER:
            self._bytes_down[message.receiver] += message.nbytes()
        else:
            self._bytes_up[message.sender] += message.nbytes()
        if self.transcript is not None:
            self.transcript.record(message)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.process_time()
        try:
            yield
        finally:
            self._count(name, time.process_time() - start)

    def _count(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
