"""The server's side of each protocol; a message that it refuses makes its sender a dropout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from privacy.aggregation.deployed.agreed import Agreed
from privacy.aggregation.deployed.parts import check_parts
from privacy.aggregation.encrypted.bodies import TERMS
from privacy.aggregation.encrypted.client import accept_context
from privacy.aggregation.encrypted.server import EncryptedServer
from privacy.aggregation.holder_noise import noised
from privacy.aggregation.masked.server import Await, MaskedServer
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message
from privacy.aggregation.ring import from_ring
from privacy.aggregator import Sums, Task, split
from privacy.crypto.keys import Directory
from privacy.errors import ProtocolError
from privacy.plain import RunningSums
from privacy.uploads import UploadError, Uploads


class MaskedSide:
    """Serve one attempt at one round of masked summing. Steps raise RoundAborted as `MaskedServer`.

    task: of the masked releases alone. beacon: what mask graphs are drawn from. cheats: clients
    that dealt wrong shares before, who stay out. server: a server that was saved while it opened
    the sum of this task; None: a new one. refusals: why messages were refused, a sentence each.
    """

    def __init__(
        self, agreed: Agreed, task: Task, directory: Directory, beacon: bytes,
        cheats: frozenset[int] = frozenset(), server: MaskedServer | None = None,
    ) -> None:
        self._task, self._cheats = task, cheats
        self._terms = agreed.masked_terms(task, beacon)
        self._server = MaskedServer(self._terms, directory) if server is None else server
        self.refusals: list[str] = []

    @classmethod
    def opening(
        cls, agreed: Agreed, task: Task, directory: Directory, plan_hash: bytes, saved: bytes
    ) -> MaskedSide:
        """Return the side of `to_bytes`. Raises ProtocolError where it opens another sum than this.
        """
        server = MaskedServer.from_bytes(saved, directory)
        beacon = server.terms.beacon
        if beacon is None or server.terms != agreed.masked_terms(task, beacon).with_plan(plan_hash):
            raise ProtocolError("what was saved opens the sum of another round or another plan")
        return cls(agreed, task, directory, beacon, server=server)

    def to_bytes(self) -> bytes:
        """Return the opening so far, from `masked` on."""
        return self._server.to_bytes()

    @property
    def signed(self) -> bool:
        """Tell whether the survivors have signed, and are asked for shares."""
        return self._server.awaits == Await.UNMASK

    def asked(self) -> list[Message]:
        """Return what clients are asked now: to sign the survivors, or for shares.

        It is the same again after a restart.
        """
        return self._server.asked()

    @property
    def number(self) -> tuple[int, int]:
        """Return the numbers of the round and of the attempt at it."""
        return self._terms.number

    def adverts(self, messages: Sequence[Message]) -> list[Message]:
        """Take adverts, and return those of each client's neighbours (round 0, AdvertiseKeys)."""
        self._take(messages)
        return self._server.route_adverts()

    def shares(self, messages: Sequence[Message]) -> None:
        """Take shares (round 1, ShareKeys); they are routed once the plan is there, by `sealed`."""
        self._take(messages)

    def sealed(self, plan_hash: bytes) -> list[Message]:
        """Return the sealed shares for each client.

        plan_hash: hash of the plan that goes with them.
        """
        self._server.terms = self._server.terms.with_plan(plan_hash)
        return self._server.route_shares()

    def masked(self, messages: Sequence[Message]) -> None:
        """Take masked vectors (round 2, MaskedInputCollection): who survives is settled, and
        `asked` to sign."""
        self._take(messages)
        self._server.announce_survivors()

    def signatures(self, messages: Sequence[Message]) -> None:
        """Take signatures (round 3, ConsistencyCheck); who signed is `asked` for shares."""
        self._take(messages)
        self._server.route_signatures()

    def opened(self, messages: Sequence[Message]) -> Sums:
        """Take shares, and return the sum (round 4, Unmasking)."""
        self._take(messages)
        result = self._server.finish()
        total = from_ring(result.total)
        return Sums(split(total, self._task.releases), {}, 0, len(result.survivors))

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            try:
                if message.sender in self._cheats:
                    raise ProtocolError(f"client {message.sender} dealt wrong shares before, and "
                                        "stays out")
                self._server.receive(message)
            except ProtocolError as error:
                self.refusals.append(str(error))


class EncryptedSide:
    """Serve one attempt at one round of encrypted summing.

    task: of the encrypted releases alone. key_holder: its verify key [32]. published: the message
    with its context. total: the total that the key holder was asked for before a restart; None:
    clients upload first.
    Raises ProtocolError for a total of another round.
    """

    def __init__(
        self, agreed: Agreed, task: Task, directory: Directory, key_holder: bytes,
        published: Message, total: Message | None = None,
    ) -> None:
        self._task, self.total = task, total
        signers = directory.including(KEY_HOLDER, key_holder)
        context = accept_context(published, agreed.run.hex(), signers)
        self._terms = agreed.encrypted_terms(task, context)
        self._server = EncryptedServer(self._terms, context, signers) if total is None else (
            EncryptedServer.closed(self._terms, context, signers, total))
        self.refusals: list[str] = []

    def uploads(self, messages: Sequence[Message]) -> None:
        """Take ciphertexts; the `total` is there then. Raises RoundAborted where too few came."""
        for message in messages:
            try:
                self._server.receive(message)
            except ProtocolError as error:
                self.refusals.append(str(error))
        self.total = self._server.close()

    def asked(self) -> tuple[Message, Message]:
        """Return what the key holder is asked, once the total is there: terms and total."""
        assert self.total is not None
        terms = Message(TERMS, SERVER, KEY_HOLDER, self._terms.at, self._terms.to_bytes())
        return terms, self.total

    def opened(self, message: Message) -> Sums:
        """Take the key holder's answer, and return the sum.

        Raises ProtocolError where it is not its own.
        """
        result = self._server.finish(message)
        return Sums(
            split(result.totals, self._task.releases), {}, 0, len(result.contributors),
            noised=noised(self._task))


class PlainSide:
    """Serve one attempt at one round in the clear, whose sums clip what they read once more.

    refusals: why blocks were refused, a sentence each.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._sums = task, RunningSums(task)
        self.refusals: list[str] = []

    def uploads(self, ids: np.ndarray, uploads: Uploads) -> None:
        """Take the uploads of a block of clients, ids [block]; they are refused whole where they do
        not fit."""
        try:
            check_parts(ids, uploads, self._task)
            self._sums.submit(ids, uploads)
        except UploadError as error:
            self.refusals.append(str(error))

    def opened(self) -> Sums:
        """Return the sums. Raises RoundAborted where too few clients uploaded."""
        return self._sums.close()
