"""Draw noise and cohorts from a keyed AES-CTR stream, never from a numpy or torch generator."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_TWO_53 = 2.0**53
_KEY_BYTES = 32


class Source(Protocol):
    """Give random numbers; `name` goes into every record and statement."""

    @property
    def name(self) -> str:
        """Return `csprng` or `simulation`."""
        ...

    def raw(self, label: str, round_: int, size: int) -> bytes:
        """Return uniform bytes [size]."""
        ...

    def uniform(self, label: str, round_: int, size: int) -> np.ndarray:
        """Return uniform numbers in (0, 1], float64 [size]."""
        ...

    def normal(self, label: str, round_: int, size: int) -> np.ndarray:
        """Return standard normal numbers, float64 [size]."""
        ...


def _bytes(key: bytes, context: str, size: int) -> bytes:
    stream_key = hashlib.sha256(key + context.encode()).digest()
    encryptor = Cipher(algorithms.AES(stream_key), modes.CTR(bytes(16))).encryptor()
    return encryptor.update(bytes(size))


def _uniform(key: bytes, context: str, size: int) -> np.ndarray:
    words = np.frombuffer(_bytes(key, context, 8 * size), dtype=np.uint64)
    return ((words >> np.uint64(11)).astype(np.float64) + 1.0) / _TWO_53


def _normal(key: bytes, context: str, size: int) -> np.ndarray:
    """Box and Muller (1958). Floating point: not hardened against Mironov (CCS 2012)."""
    half = -(-size // 2)
    u = _uniform(key, context, 2 * half)
    radius, angle = np.sqrt(-2.0 * np.log(u[:half])), 2.0 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]


@dataclass(frozen=True)
class SystemSource:
    """Draw under a fresh key of the operating system in every call.

    It holds no state, so a fork, a copy or a pickle of it never draws the same numbers again.
    """

    name: str = "csprng"

    def raw(self, label: str, round_: int, size: int) -> bytes:
        """Return uniform bytes [size] under a fresh key; label and round do not repeat them."""
        return _bytes(os.urandom(_KEY_BYTES), label, size)

    def uniform(self, label: str, round_: int, size: int) -> np.ndarray:
        """Return uniform numbers in (0, 1], float64 [size], under a fresh key."""
        return _uniform(os.urandom(_KEY_BYTES), label, size)

    def normal(self, label: str, round_: int, size: int) -> np.ndarray:
        """Return standard normal numbers, float64 [size], under a fresh key."""
        return _normal(os.urandom(_KEY_BYTES), label, size)


class SimulationSource:
    """Draw from a public seed: repeatable, and so without any protection for what is released."""

    name = "simulation"

    def __init__(self, seed: int) -> None:
        self._key = hashlib.sha256(f"simulation {seed}".encode()).digest()

    def raw(self, label: str, round_: int, size: int) -> bytes:
        """Return the bytes [size] that seed, label and round fix."""
        return _bytes(self._key, f"{label}|{round_}", size)

    def uniform(self, label: str, round_: int, size: int) -> np.ndarray:
        """Return the numbers in (0, 1], float64 [size], that seed, label and round fix."""
        return _uniform(self._key, f"{label}|{round_}", size)

    def normal(self, label: str, round_: int, size: int) -> np.ndarray:
        """Return the standard normal numbers, float64 [size], that seed, label and round fix."""
        return _normal(self._key, f"{label}|{round_}", size)
