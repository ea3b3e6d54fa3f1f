"""Primitives: published vectors, every bit of a key counts, shares say all or nothing."""

from __future__ import annotations

import ast
import hashlib
import hmac
import itertools
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.crypto import (
    Directory,
    Identity,
    KeyPair,
    MaskStream,
    SealError,
    combine,
    derive_pair_key,
    open_sealed,
    seal,
    split,
    verify_signature,
)
from privacy.crypto.shamir import PRIME, SHARE_BYTES

ROOT = Path(__file__).parents[3]
SECRETS = st.binary(min_size=32, max_size=32)


def mask(seed: bytes, dims: int = 64) -> np.ndarray:
    total = np.zeros(dims, dtype=np.uint32)
    MaskStream(dims).add(total, seed)
    return total


def test_mask_is_aes_in_counter_mode() -> None:
    """NIST SP 800-38A, F.5.1: its first keystream blocks are ciphertext xor plaintext."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    stream = bytes.fromhex("ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae")
    assert mask(key + counter, 8).tobytes() == stream


def test_every_key_bit_changes_the_mask() -> None:
    seed = hashlib.sha256(b"a seed").digest()
    plain = np.unpackbits(mask(seed).view(np.uint8))
    for bit in range(256):
        other = bytearray(seed)
        other[bit // 8] ^= 1 << bit % 8
        changed = (np.unpackbits(mask(bytes(other)).view(np.uint8)) != plain).mean()
        # 2048 bits, half of which change: 6 standard deviations, 256 times: below 1e-6.
        assert abs(changed - 0.5) < 6 * 0.5 / 2048**0.5


def test_masks_add_and_subtract_in_one_buffer() -> None:
    stream, total = MaskStream(5), np.array([0, 1, 2**32 - 1, 7, 9], dtype=np.uint32)
    before = total.copy()
    stream.add(total, bytes(32))
    stream.add(total, bytes([1]) * 32)
    stream.subtract(total, bytes(32))
    stream.subtract(total, bytes([1]) * 32)
    assert (total == before).all()
    stream.wipe()
    assert not any(stream._buffer)
    with pytest.raises(ValueError, match="32 key bytes"):
        stream.add(total, bytes(16))


def test_pair_keys_follow_the_rfcs() -> None:
    """RFC 7748, section 6.1, then RFC 5869 written out."""
    a = KeyPair.from_bytes(
        bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c3a6bc44a9e2b3cdc57e3b0f2db2b")
    )
    b = KeyPair.from_bytes(
        bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    )
    shared = X25519PrivateKey.from_private_bytes(a.secret_bytes()).exchange(
        b.private.public_key()
    )
    extracted = hmac.digest(bytes(32), shared, "sha256")
    expected = hmac.digest(extracted, b"what for" + b"\x01", "sha256")
    assert derive_pair_key(a, b.public, b"what for", 32) == expected
    assert derive_pair_key(b, a.public, b"what for", 32) == expected
    assert derive_pair_key(a, b.public, b"other", 32) != expected


def test_keys_of_small_order_are_refused() -> None:
    with pytest.raises(ValueError):
        derive_pair_key(KeyPair.generate(), bytes(32), b"", 32)


def test_identities() -> None:
    a, b = Identity.generate(3), Identity.generate(4)
    signature = a.sign(b"words")
    assert verify_signature(a.verify_key(), signature, b"words")
    assert not verify_signature(a.verify_key(), signature, b"other words")
    assert not verify_signature(b.verify_key(), signature, b"words")
    again = Identity.from_bytes(3, a.secret_bytes())
    assert Directory.of([again, b]).keys[3] == a.verify_key()
    assert "key" not in repr(a)
    both = Directory.of([a]).including(-2, b.verify_key())
    assert 3 in both and -2 in both and 4 not in both and both.keys[-2] == b.verify_key()
    with pytest.raises(ValueError, match="share one verify key"):
        both.including(4, a.verify_key())
    with pytest.raises(ValueError, match="share one verify key"):
        Directory({1: a.verify_key(), 2: a.verify_key()})
    with pytest.raises(ValueError, match="must have 32 bytes"):
        Directory({1: b"short"})


def test_seals_open_only_as_they_were_sealed() -> None:
    sealed = seal(bytes(32), bytes(12), b"content", b"context")
    assert open_sealed(bytes(32), sealed, b"context") == b"content"
    altered = [
        (bytes([1]) * 32, sealed, b"context"),
        (bytes(32), sealed, b"another"),
        (bytes(32), sealed[:20], b"context"),
        *((bytes(32), sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :], b"context")
          for i in range(len(sealed))),
    ]
    for key, body, context in altered:
        with pytest.raises(SealError):
            open_sealed(key, body, context)


def test_the_prime_is_the_smallest_above_two_to_the_256() -> None:
    """Fermat's test to base 2 and 3 suffices against a mistyped constant."""
    def passes(p: int) -> bool:
        return pow(2, p - 1, p) == 1 and pow(3, p - 1, p) == 1

    assert passes(PRIME)
    assert not any(passes(2**256 + i) for i in range(1, 297))
    assert PRIME.bit_length() <= 8 * SHARE_BYTES


@settings(max_examples=60, deadline=None)
@given(first=SECRETS, second=SECRETS, data=st.data())
def test_any_threshold_of_shares_gives_the_secret(first: bytes, second: bytes, data) -> None:  # type: ignore[no-untyped-def]
    count = data.draw(st.integers(1, 40))
    threshold = data.draw(st.integers(1, count))
    shares = split((first, second), count, threshold)
    assert {len(s) for s in shares} == {2 * SHARE_BYTES}
    points = data.draw(st.permutations(range(1, count + 1)))[:threshold]
    parts = [shares[x - 1] for x in points]
    assert combine(points, [p[:SHARE_BYTES] for p in parts]) == first
    assert combine(points, [p[SHARE_BYTES:] for p in parts]) == second


def test_extreme_secrets() -> None:
    for secret in (bytes(32), b"\xff" * 32):
        shares = split((secret,), 5, 3)
        assert combine((5, 1, 3), [shares[4], shares[0], shares[2]]) == secret


def test_fewer_shares_fit_every_secret() -> None:
    """Shamir (1979): given t - 1 shares, one further share exists for every secret there is."""
    shares = split((b"s" * 32,), 6, 4)[:3]
    for wanted in (bytes(32), b"x" * 32, b"\xff" * 32):
        value = int.from_bytes(wanted, "big")
        points = (1, 2, 3, 4)
        weight = {
            x: _lagrange(points, x) for x in points
        }
        rest = sum(weight[x] * int.from_bytes(shares[x - 1], "big") for x in (1, 2, 3))
        last = (value - rest) * pow(weight[4], -1, PRIME) % PRIME
        assert combine(points, [*shares, last.to_bytes(SHARE_BYTES, "big")]) == wanted


def _lagrange(points: tuple[int, ...], x: int) -> int:
    top = bottom = 1
    for y in points:
        if y != x:
            top, bottom = top * y % PRIME, bottom * (y - x) % PRIME
    return top * pow(bottom, -1, PRIME) % PRIME


def test_shares_of_one_secret_differ_every_time() -> None:
    first, second = split((bytes(32),), 4, 2), split((bytes(32),), 4, 2)
    assert not set(first) & set(second)


@pytest.mark.parametrize(("count", "threshold"), [(3, 0), (3, 4), (0, 1)])
def test_impossible_thresholds(count: int, threshold: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        split((bytes(32),), count, threshold)


def test_shares_that_do_not_fit() -> None:
    shares = split((bytes(32),), 4, 2)
    with pytest.raises(ValueError, match="different points"):
        combine((1, 1), shares[:2])
    with pytest.raises(ValueError, match="as many shares"):
        combine((1, 2), shares[:1])
    with pytest.raises(ValueError, match="32 bytes"):
        split((b"short",), 4, 2)
    # A secret of 2**256 or above cannot come from `split`.
    with pytest.raises(ValueError, match="do not belong"):
        combine((1,), [(PRIME - 1).to_bytes(SHARE_BYTES, "big")])


FOLDERS = [ROOT / "privacy" / "crypto", ROOT / "privacy" / "aggregation" / "masked"]
FILES = [*itertools.chain.from_iterable(sorted(f.glob("*.py")) for f in FOLDERS),
         ROOT / "privacy" / "aggregation" / "simulated" / "masked_round.py",
         ROOT / "privacy" / "aggregation" / "ring.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_statistical_generator_is_within_reach(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        for name in names:
            assert name.split(".")[0] not in {"random", "torch"}, name
            assert not name.startswith(("np.random", "numpy.random")), name


def test_the_folders_have_files() -> None:
    assert len(FILES) >= 12
