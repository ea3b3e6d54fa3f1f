"""What an encoder is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

# A batch of texts (str) or pictures (PIL, RGB) to one row of float32 each: [n, F].
Encode = Callable[[Sequence[Any]], np.ndarray]


@runtime_checkable
class Shortens(Protocol):
    """What encodes may read a long content in part; then it says of which it did."""

    def cut(self, contents: Sequence[Any]) -> np.ndarray:
        """Return whether each content is longer than what is read of it [n] bool."""
        ...


class EncoderError(ValueError):
    """This error says in one sentence that a model is not there, does not fit, or cannot read some
    content."""


class ContentError(EncoderError):
    """This error says that the content of one item cannot be encoded, and names the item."""


@dataclass(frozen=True)
class Encoder:
    """This is an encoder before its weights are loaded.

    identity: name, weights and settings, all that decides its numbers; part of the cache key. note:
    the same for people. load: reads the weights; called only when something is to encode.
    """

    identity: str
    note: str
    load: Callable[[], Encode]
