"""Sums over two servers by additive shares (Corrigan-Gibbs and Boneh, NSDI 2017, section 3)."""

from dataclasses import dataclass, field

import numpy as np

from privacy import ProtocolError, RoundAborted, Sums, SystemSource, Task, UploadError, Uploads
from privacy.aggregation.messages import SERVER, Message, Transcript
from privacy.aggregation.ring import from_ring, to_ring
from privacy.aggregator import Coalition, dims, flattened, split
from privfedmm.mechanisms.aggregators import AggregatorEntry, SumTerms

SHARE, SECOND = "share", -3  # the kind of message; the second server


@dataclass(frozen=True)
class TwoServers:
    """A client splits its vector into two uniform shares, one for each of the servers."""

    transcript: Transcript | None = None
    name: str = "two_servers"
    server_sees: str = ("one uniformly random share of each upload, and the sum: of no client its "
                        "upload, while the two servers do not put their shares together")
    hides_clients: bool = True

    def coalitions(self, clients: int) -> tuple[Coalition, ...]:
        return (Coalition("one of the servers alone", "nothing"),
                Coalition("both servers", "every client's upload"))

    def open(self, task: Task) -> "Shares":
        if not task.integer:
            raise ProtocolError("aggregation: two_servers adds integers on a grid alone")
        if not len(task.cohort.ids):
            raise RoundAborted("nobody takes part in the round; nothing is released")
        return Shares(task, self.transcript)


@dataclass
class Shares:
    """One round: what each server has added up so far, modulo 2**32."""

    task: Task
    transcript: Transcript | None
    seen: set[int] = field(default_factory=set)
    source: SystemSource = field(default_factory=SystemSource)

    def __post_init__(self) -> None:
        self.size = dims(self.task.releases)
        self.servers = np.zeros((2, self.size), dtype=np.uint32)

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        new = set(ids.tolist())
        if not new <= set(self.task.cohort.ids.tolist()) or len(new) < len(ids) or new & self.seen:
            raise UploadError("an upload is from outside the cohort, or a client's second")
        vectors = to_ring(flattened(uploads, self.task.releases))
        random = np.frombuffer(
            self.source.raw("share", self.task.cohort.round, 4 * vectors.size), dtype=np.uint32)
        one = random.reshape(vectors.shape)
        for server, share in enumerate((one, vectors - one)):
            self.servers[server] += share.sum(0, dtype=np.uint32)
            for client, row in zip(ids.tolist(), share, strict=True):
                self._tell(client, (SERVER, SECOND)[server], row)
        self.seen |= new

    def _tell(self, client: int, server: int, row: np.ndarray) -> None:
        if self.transcript is not None:
            number = (self.task.cohort.round, self.task.attempt)
            self.transcript.record(Message(SHARE, client, server, number, row.tobytes()))

    def close(self) -> Sums:
        if len(self.seen) < self.task.min_survivors:
            raise RoundAborted(f"{len(self.seen)} clients uploaded, and at least "
                               f"{self.task.min_survivors} are needed; nothing is released")
        total = from_ring(self.servers.sum(0, dtype=np.uint32))
        return Sums(split(total, self.task.releases), {}, 8 * self.size * len(self.seen),
                    len(self.seen))


def _build(terms: SumTerms) -> TwoServers:
    return TwoServers(terms.transcript)


def _vector(message: Message) -> np.ndarray | None:
    return np.frombuffer(message.body, dtype=np.int32) if message.kind == SHARE else None


TWO_SERVERS = AggregatorEntry(
    name="two_servers", summary="additive shares to two servers that do not collude",
    reference="Corrigan-Gibbs and Boneh, Prio, NSDI 2017, section 3", build=_build,
    hides_clients=True, vector=_vector)
