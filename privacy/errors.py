"""What can go wrong between parties: a message refused, a round given up, a sum out of range."""

from __future__ import annotations


class ProtocolError(ValueError):
    """Report a message that its receiver refuses; nothing of it was used."""


class RoundAborted(RuntimeError):
    """Report a round that cannot be finished; nothing of its sum was released."""


class CheatFound(RoundAborted):
    """Report a round in which clients dealt shares that do not give the secret they are bound to.

    clients: their numbers. Nothing was released, and the next attempt does without them.
    """

    def __init__(self, sentence: str, clients: frozenset[int]) -> None:
        super().__init__(sentence)
        self.clients = clients


class RoundLost(RoundAborted):
    """Report a round that clients will not open again, and that can never be released: they have
    signed its survivors.

    What follows it may still be played.
    """


class OpeningFailed(RoundAborted):
    """Report an opening that failed and that may be asked for once more, in the same words."""


class RoundNotBegun(RoundAborted):
    """Report an attempt that ended before any client was asked for an upload.

    There is nothing to charge, and what an earlier attempt left open stays as it is.
    """


class NotPrepared(RoundNotBegun):
    """Report an attempt whose keys or shares did not come together.

    It told nothing, and may be tried again at once.
    """


class CapacityError(ValueError):
    """Report a sum that could leave its range: it is refused at set-up, never wrapped."""
