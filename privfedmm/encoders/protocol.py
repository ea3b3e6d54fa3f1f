"""What an encoder is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# A batch of texts (str) or pictures (PIL, RGB) to one row of float32 each: [n, F].
Encode = Callable[[Sequence[Any]], np.ndarray]


class EncoderError(ValueError):
    """A model is not there or does not fit, or cannot read some content; the message is one
    sentence."""


class ContentError(EncoderError):
    """The content of one item cannot be encoded; the message names the item."""


@dataclass(frozen=True)
class Encoder:
    """This is an encoder before its weights are loaded.

    identity: name, weights and settings, all that decides its numbers; part of the cache key. note:
    the same for people. load: reads the weights; called only when something is to encode.
    """

    identity: str
    note: str
    load: Callable[[], Encode]
