"""The key holder's side, whose process may be a new one for every message."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from privacy.aggregation.deployed.agreed import Agreed
from privacy.aggregation.encrypted.keyholder import KeyHolder, Save
from privacy.aggregation.holder_noise import holder_noise
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message
from privacy.aggregator import Task
from privacy.crypto.keys import Directory, Identity


class HolderSide:
    """Publish the key of the run and decrypt one total a round.

    identity: the key holder's own key. directory: the verify keys of the clients. task_of: what the
    holder itself knows of a round and attempt, its noise included. saved: the state that an earlier
    process left, None at the start of a run. save: stores a state, which is safe when it returns.
    """

    def __init__(
        self, agreed: Agreed, identity: Identity, directory: Directory,
        task_of: Callable[[tuple[int, int]], Task], saved: bytes | None, save: Save,
    ) -> None:
        self._agreed, self._task_of = agreed, task_of
        signers = directory.including(KEY_HOLDER, identity.verify_key())
        fewest = agreed.min_decrypted
        if saved is None:
            self._holder = KeyHolder(
                agreed.run.hex(), agreed.parameters(task_of((0, 0))), identity, signers, fewest,
                self._noise, save)
            save(self._holder.to_bytes())
        else:
            self._holder = KeyHolder.from_bytes(saved, identity, signers, fewest, self._noise, save)

    def publish(self) -> Message:
        """Return the public context, signed by the key holder, for the server to pass on."""
        return self._holder.publish(SERVER)

    def decrypt(self, terms: Message, total: Message) -> Message:
        """Agree to the terms and decrypt the total in one step: an agreement is not kept over a
        restart. The same total asked for again is answered as it was. Raises ProtocolError or
        RoundAborted."""
        again = self._holder.repeated(total)
        if again is not None:
            return again
        self._holder.agree(terms)
        return self._holder.decrypt(total)

    def _noise(self, size: int, round_: int, attempt: int) -> np.ndarray:
        leg = self._agreed.leg(self._task_of((round_, attempt)), "encrypted")
        return holder_noise(leg.task if leg else None, size)
