"""Encrypted summing as an aggregator: clients, server and key holder in one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from privacy.aggregation.encrypted.encryption_plan import EncryptionPlan
from privacy.aggregation.holder_noise import holder_noise, noised
from privacy.aggregation.messages import HEADER_BYTES, KEY_HOLDER, Transcript
from privacy.aggregation.simulated.encrypted_round import EncryptedRound, EncryptedRun
from privacy.aggregator import Coalition, Session, Sums, Task, flattened, split
from privacy.crypto.he_parameters import Scheme
from privacy.crypto.keys import Identity
from privacy.uploads import UploadError, Uploads

COALITIONS = (
    Coalition("the server alone, submitting the agreed sum", "nothing"),
    Coalition("the server alone, submitting one client's ciphertext or a multiple of it as the sum",
              "that client's vector, under the key holder's noise for one client"),
    Coalition("the server and the key holder", "every client's vector"),
)


@dataclass
class EncryptedAggregator:
    """Let the server add ciphertexts; the key holder decrypts one total a round, and adds the
    noise.

    scheme: of the ciphertexts. clients: most clients that a total can have. min_survivors: fewest.
    transcript: told every message. keep: stores the key holder's state before each decryption.
    """

    scheme: Scheme
    clients: int
    min_survivors: int
    transcript: Transcript = field(default_factory=lambda: Transcript(keep_bodies=False))
    keep: Callable[[bytes], None] = field(default=lambda state: None, repr=False)
    name: str = "encrypted"
    server_sees: str = (
        "ciphertexts of equal length that it can add and not read, who sent them, and of their "
        "total what the key holder releases; holds while server and key holder do not collude, "
        "and assumes that the server submits the agreed sum: the key holder cannot see what is in "
        "a total, and would decrypt one client's ciphertext, or a multiple of it")
    hides_clients: bool = True
    _run: EncryptedRun | None = field(default=None, repr=False)
    _task: Task | None = field(default=None, repr=False)

    def coalitions(self, clients: int) -> tuple[Coalition, ...]:
        """Return who must conspire: the key holder sees totals and cannot see what is in them."""
        return COALITIONS

    def open(self, task: Task) -> Session:
        """Make terms for all parties; at the first round also the key of the run.

        Raises CapacityError where no parameters keep the total exact.
        """
        if self._run is None:
            plan = EncryptionPlan(
                os.urandom(16).hex(), self.scheme, self.clients, self.min_survivors)
            identities = map(Identity.generate, task.cohort.ids.tolist())
            self._run = EncryptedRun(
                plan, plan.parameters(task), identities, Identity.generate(KEY_HOLDER),
                self._noise, self.keep, self.transcript)
        self._task = task
        return _EncryptedSession(task, self._run.open(task))

    def _noise(self, size: int, round_: int, attempt: int) -> np.ndarray:
        return holder_noise(self._task, size)


class _EncryptedSession:
    def __init__(self, task: Task, round_: EncryptedRound) -> None:
        self._task, self._round = task, round_

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        if not np.isin(ids, self._task.cohort.ids).all():
            raise UploadError("an upload came from a client outside the cohort")
        self._round.submit(ids, flattened(uploads, self._task.releases))

    def close(self) -> Sums:
        result = self._round.close()
        bytes_down = len(self._task.cohort.ids) * (len(self._round.terms.to_bytes()) + HEADER_BYTES)
        return Sums(
            split(result.totals, self._task.releases), {}, result.bytes_sent["clients"],
            len(result.contributors), bytes_down,
            {f"encryption_{party}": seconds for party, seconds in result.seconds.items()},
            noised(self._task),
        )
