"""What can go wrong between parties: a message refused, a round given up, a sum out of range."""

from __future__ import annotations


class ProtocolError(ValueError):
    """A message that its receiver refuses; nothing of it was used."""


class RoundAborted(RuntimeError):
    """A round that cannot be finished; nothing of its sum was released."""


class RoundNotBegun(RoundAborted):
    """An attempt that ended before any client was asked for anything: there is nothing to charge,
    and what an earlier attempt left open stays as it is."""


class CapacityError(ValueError):
    """A sum that could leave its range: refused at set-up, never wrapped."""
