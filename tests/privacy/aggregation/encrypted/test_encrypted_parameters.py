"""Parameters are settled by bounds; the bounds are held against measured noise."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenseal import sealapi

from privacy.crypto.he import SecretContext, from_slots, read_public, to_slots
from privacy.crypto.he_parameters import HEParameters, Scheme, _is_prime, _likely, plan
from privacy.errors import CapacityError, ProtocolError

SCHEMES: tuple[Scheme, ...] = ("bfv", "ckks")


def summed(parameters: HEParameters, vectors: np.ndarray) -> tuple[SecretContext, bytes, int]:
    secret = SecretContext.generate(parameters)
    public, dims = secret.public(), vectors.shape[1]
    total = public.read(public.encrypt(vectors[0]), dims)
    for vector in vectors[1:]:
        total.add(public.read(public.encrypt(vector), dims))
    return secret, total.to_bytes(), public.cell_bytes


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", [1, 10, 12, 16, 20, 30])
@pytest.mark.parametrize("clients", [2, 943, 5000])
def test_a_plan_is_safe_and_exact(scheme: Scheme, bits: int, clients: int) -> None:
    parameters = plan(scheme, clients, 2**bits)
    assert parameters.security_bits >= 128
    assert parameters.error_bound <= 0.25
    assert parameters.headroom_bits >= 0.0
    assert parameters.slots == {"bfv": 4096, "ckks": 2048}[scheme]


def test_security_follows_the_standard() -> None:
    """Albrecht et al. 2018, table 1: 109 bits at N=4096 and 218 at N=8192 for 128-bit security."""
    good = plan("bfv", 100, 100)
    assert good.security_bits == 128
    assert dataclasses.replace(good, coeff_bits=(54, 55)).security_bits == 128
    with pytest.raises(CapacityError, match="below 128-bit security"):
        dataclasses.replace(good, coeff_bits=(55, 55))
    wide = plan("bfv", 100, 2**30, degree=8192)
    assert wide.security_bits >= 128 and wide.slots == 8192
    with pytest.raises(CapacityError, match="no parameters"):
        plan("bfv", 100, 100, degree=2048)
    with pytest.raises(CapacityError, match="no scheme"):
        dataclasses.replace(good, scheme="rsa")  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_client_more_than_fits_is_refused(scheme: Scheme) -> None:
    """The largest number of clients that parameters carry, found by halving; one more raises."""
    base = plan(scheme, 943, 2**12)
    low, high = 943, 10**9
    while high - low > 1:
        middle = (low + high) // 2
        try:
            dataclasses.replace(base, clients=middle)
            low = middle
        except CapacityError:
            high = middle
    assert dataclasses.replace(base, clients=low).headroom_bits >= 0.0
    with pytest.raises(CapacityError, match="would not be certain"):
        dataclasses.replace(base, clients=low + 1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_values_beyond_every_plan_are_refused(scheme: Scheme) -> None:
    with pytest.raises(CapacityError):
        plan(scheme, 943, 2**60)
    with pytest.raises(CapacityError):
        plan(scheme, 10**15, 2**10)


def test_certain_is_asked_for() -> None:
    assert not plan("bfv", 943, 2**12).certain
    certain = plan("bfv", 943, 2**12, certain=True)
    assert certain.certain and certain.coeff_bits == (48, 48)
    with pytest.raises(CapacityError, match="every case"):
        plan("ckks", 943, 2**12, certain=True)


def test_limbs_are_taken_where_one_slot_is_too_small() -> None:
    assert plan("ckks", 943, 2**12).limbs == 1
    two = plan("ckks", 943, 2**20)
    assert two.limbs == 2 and two.ciphertexts(5500) == 6


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(SCHEMES), st.integers(1, 40), st.integers(1, 30), st.data())
def test_digits_are_the_integers_they_stand_for(
    scheme: Scheme, bits: int, dims: int, data: st.DataObject
) -> None:
    parameters = plan(scheme, 50, 2**bits)
    values = st.integers(-(2**bits), 2**bits)
    vector = np.array(data.draw(st.lists(values, min_size=dims, max_size=dims)), dtype=np.int64)
    rows = to_slots(vector, parameters)
    assert np.abs(rows).max() <= parameters.limb_abs
    np.testing.assert_array_equal(from_slots(50 * rows, parameters, dims), 50 * vector)


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from(SCHEMES), st.integers(1, 34), st.integers(1, 5), st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_totals_are_the_sums(
    scheme: Scheme, bits: int, clients: int, dims: int, seed: int
) -> None:
    most = 2**bits
    vectors = np.random.default_rng(seed).integers(-most, most + 1, (clients, dims))
    secret, total, cell = summed(plan(scheme, 943, most), vectors)
    np.testing.assert_array_equal(secret.decrypt(total, cell, dims), vectors.sum(axis=0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_extremes_add_up(scheme: Scheme) -> None:
    """All clients at the end of the range: the largest total that the parameters are for."""
    for value in (-300, 300):
        vectors = np.full((40, 5000), value, dtype=np.int64)
        secret, total, cell = summed(plan(scheme, 40, 300), vectors)
        assert (secret.decrypt(total, cell, 5000) == 40 * value).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_measured_noise_is_below_the_bound(scheme: Scheme) -> None:
    """300 ciphertexts. CKKS: raw error of slots. BFV: SEAL's own noise budget.

    The bounds are conservative, but not by more than 10 bits: else the formula is another one.
    """
    parameters = plan(scheme, 300, 2**12)
    vectors = np.random.default_rng(4).integers(-(2**12), 2**12 + 1, (300, parameters.slots))
    secret, total, cell = summed(parameters, vectors)
    found = secret.public().read(total, parameters.slots)
    held = found._vectors[0]
    key = secret._context.secret_key()
    if scheme == "ckks":
        raw = np.array(held.decrypt(key)) * 2.0**parameters.unit_bits
        error = float(np.abs(raw - vectors.sum(axis=0)).max())
    else:
        decryptor = sealapi.Decryptor(secret._context.seal_context().data, key.data)
        error = 2.0 ** -decryptor.invariant_noise_budget(held.ciphertext()[0]) / 2.0
    assert parameters.error_bound / 2**10 < error < parameters.error_bound
    assert cell % 1024 == 0


def test_hoeffding_by_hand() -> None:
    """x = sqrt(n (N + 2) 85 ln 2 / 2) for n = 943, N = 4096, worked out apart: 10,669.6."""
    assert math.isclose(_likely(4096, (54, 54), 943), 10669.6, rel_tol=1e-5)


def test_primes() -> None:
    small = [n for n in range(200) if _is_prime(n)]
    assert small == [n for n in range(2, 200) if all(n % k for k in range(2, n))]
    assert not _is_prime(3215031751)  # the smallest strong pseudoprime to 2, 3, 5 and 7
    assert _is_prime(2**61 - 1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_public_half_holds_no_secret(scheme: Scheme, tmp_path: Path) -> None:
    parameters = plan(scheme, 10, 100)
    secret = SecretContext.generate(parameters)
    public = secret.public()
    assert not public._context.is_private() and secret._context.is_private()
    secret._context.secret_key().data.save(str(tmp_path / "key"))
    key = (tmp_path / "key").read_bytes()
    assert key in secret.to_bytes() and key[100:200] in secret.to_bytes()
    assert not any(key[i : i + 24] in public.serialised for i in range(64, len(key) - 24, 24))
    assert not public._context.has_galois_keys() and not public._context.has_relin_keys()
    held = public.read(public.encrypt(np.arange(5)), 5)
    with pytest.raises(ValueError, match="secret_key"):
        held._vectors[0].decrypt()
    with pytest.raises(ProtocolError, match="no secret key"):
        read_public(secret.to_bytes(), parameters, public.cell_bytes)
    with pytest.raises(ProtocolError, match="no secret key"):
        SecretContext.from_bytes(public.serialised, parameters)


def test_a_context_of_other_parameters_is_refused() -> None:
    bfv, ckks = plan("bfv", 10, 100), plan("ckks", 10, 100)
    public = SecretContext.generate(bfv).public()
    with pytest.raises(ProtocolError, match="was agreed on"):
        read_public(public.serialised, ckks, public.cell_bytes)
    for broken in (b"", public.serialised[:-100], b"\x00" * 500):
        with pytest.raises(ProtocolError):
            read_public(broken, bfv, public.cell_bytes)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_standard_output_stays_clean(scheme: Scheme, capfd: pytest.CaptureFixture[str]) -> None:
    """A run may print JSON there; TenSEAL warns there of vectors longer than a ciphertext."""
    vectors = np.ones((2, 9000), dtype=np.int64)
    secret, total, cell = summed(plan(scheme, 5, 100), vectors)
    secret.decrypt(total, cell, 9000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_total_out_of_range_is_refused(scheme: Scheme) -> None:
    """Three clients' sum offered as that of two: some slot is out of their range."""
    parameters = plan(scheme, 3, 100)
    vectors = np.full((3, 50), 100, dtype=np.int64)
    secret, total, cell = summed(parameters, vectors)
    smaller = SecretContext(secret._context, dataclasses.replace(parameters, clients=2))
    with pytest.raises(ProtocolError, match="out of their range"):
        smaller.decrypt(total, cell, 50)
    with pytest.raises(ProtocolError, match="unused slots"):
        secret.decrypt(total, cell, 49)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_damaged_ciphertexts_are_refused_or_parsed(scheme: Scheme) -> None:
    """One byte changed in 150 places: a typed error, or a ciphertext of the agreed shape.

    What still parses is caught by the client's signature; see the refusals.
    """
    parameters = plan(scheme, 3, 100)
    public = SecretContext.generate(parameters).public()
    cells = public.encrypt(np.arange(20))
    rng, refused = np.random.default_rng(0), 0
    places = [*range(0, 90), *rng.integers(90, len(cells), 60).tolist()]
    for place in places:
        damaged = bytearray(cells)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            public.read(bytes(damaged), 20)
        except ProtocolError:
            refused += 1
    assert refused > 60
    for broken in (cells[:-1], cells + b"\x00", b"", bytes(len(cells))):
        with pytest.raises(ProtocolError):
            public.read(broken, 20)
