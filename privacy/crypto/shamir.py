"""Share 32-byte secrets over a prime just above 2**256 (Shamir 1979)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import lru_cache
from operator import mul

SECRET_BYTES, SHARE_BYTES = 32, 33
# The smallest prime above 2**256, so that any 32 bytes are a secret, the 0xff..ff ones as well.
PRIME = 2**256 + 297


def split(secrets: Sequence[bytes], count: int, threshold: int) -> list[bytes]:
    """Make shares 1..count; each holds one share [33] of every secret [32], one behind the other.

    Any `threshold` shares give the secret, fewer say nothing of it: the other coefficients are
    uniform below 2**256, at a distance of 297 / 2**256 from uniform below the prime. Raises
    ValueError for a threshold that does not fit and a secret of another length.
    """
    if not 1 <= threshold <= count < PRIME:
        raise ValueError(f"a threshold of {threshold} does not fit {count} shares")
    if any(len(s) != SECRET_BYTES for s in secrets):
        raise ValueError(f"a secret must have {SECRET_BYTES} bytes")
    # All polynomials are evaluated at once, side by side in one integer: each has a lane wide
    # enough for its value before reduction. Points are small, so reducing once is cheapest.
    lane = -(-(264 + threshold * count.bit_length()) // 8)
    pad = bytes(lane - SECRET_BYTES)
    noise = os.urandom(SECRET_BYTES * len(secrets) * (threshold - 1))
    drawn = [noise[i : i + SECRET_BYTES] for i in range(0, len(noise), SECRET_BYTES)]
    rows = [drawn[i : i + len(secrets)] for i in range(0, len(drawn), len(secrets))]
    # A secret is read as a big-endian number inside a little-endian row of lanes.
    coefficients = [
        int.from_bytes(b"".join([c + pad for c in row]), "little")
        for row in [*rows, [s[::-1] for s in secrets]]
    ]
    width, one = 8 * lane, (1 << 8 * lane) - 1
    shares = []
    for x in range(1, count + 1):
        value = 0
        for c in coefficients:
            value = value * x + c
        share = b""
        for _ in secrets:
            share += ((value & one) % PRIME).to_bytes(SHARE_BYTES, "big")
            value >>= width
        shares.append(share)
    return shares


@lru_cache(maxsize=4096)
def _weights(points: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Lagrange weights at 0 as whole numbers, and the inverse of their common denominator."""
    if len(set(points)) != len(points) or any(not 0 < x < PRIME for x in points):
        raise ValueError("shares must have different points above 0")
    tops, bottoms = [], []
    whole = math.prod(points)
    for x in points:
        tops.append(whole // x)
        bottoms.append(math.prod([y - x for y in points if y != x]))
    common = math.lcm(*bottoms)
    weights = tuple(t * (common // b) for t, b in zip(tops, bottoms, strict=True))
    shared = math.gcd(common, *weights)
    return tuple(w // shared for w in weights), pow(common // shared, -1, PRIME)


def combine(points: Sequence[int], shares: Sequence[bytes]) -> bytes:
    """Return the secret [32] of exactly `threshold` shares [33] at their points.

    Raises ValueError where the shares cannot belong together. Wrong shares may still give wrong
    bytes: check them against a commitment.
    """
    weights, inverse = _weights(tuple(points))
    if len(shares) != len(weights) or any(len(s) != SHARE_BYTES for s in shares):
        raise ValueError(f"as many shares of {SHARE_BYTES} bytes are needed as points")
    values = [int.from_bytes(s, "big") for s in shares]
    secret = sum(map(mul, weights, values)) * inverse % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise ValueError("the shares do not belong to one secret")
    return secret.to_bytes(SECRET_BYTES, "big")
