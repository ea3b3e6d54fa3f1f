"""Encrypt integer vectors so that sums can be made under it: the one file that uses TenSEAL.

A vector is cut into ciphertexts here, never by TenSEAL: given more values than one ciphertext
holds it prints a warning to standard output, where a machine may be reading JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from privacy.crypto.he_parameters import CKKS_SCALE_BITS, HEParameters
from privacy.errors import ProtocolError
from privacy.extras import check, need

_LIBRARY = ("tenseal", "encrypted", "encryption of statistics")
_CELL_STEP = 1024
_REFUSED = (ValueError, RuntimeError, IndexError, TypeError, OverflowError)


def check_library() -> None:
    """Check that the library of ciphertexts is installed. Raises MissingExtra where it is not."""
    check(*_LIBRARY)


def _tenseal() -> Any:
    """The library, where ciphertexts are really made: a plain installation goes without it."""
    return need(*_LIBRARY)


@dataclass(frozen=True, eq=False)
class PublicContext:
    """Encrypt and add, without being able to decrypt. Make one with `read_public`.

    cell_bytes: length that every ciphertext is padded to on the wire.
    """

    serialised: bytes = field(repr=False)
    parameters: HEParameters
    cell_bytes: int
    _context: Any = field(repr=False)

    @cached_property
    def hash(self) -> bytes:
        """Return the SHA-256 of the serialised context, by which it is pinned."""
        return hashlib.sha256(self.serialised).digest()

    def upload_bytes(self, dims: int) -> int:
        """Return how many bytes an encrypted vector of dims integers takes."""
        return self.parameters.ciphertexts(dims) * self.cell_bytes

    def encrypt(self, vector: np.ndarray) -> bytes:
        """Encrypt integers, int64 [dims]: cells of one fixed length each, every slot filled.

        Raises CapacityError where a value exceeds max_abs (checked by callers too).
        """
        rows = to_slots(vector, self.parameters)
        return b"".join(self._cell(row) for row in rows)

    def read(self, cells: bytes, dims: int) -> Ciphertexts:
        """Read the ciphertexts of `encrypt` or of a total. Raises ProtocolError for anything
        else."""
        return _read(self._context, self.parameters, self.cell_bytes, cells, dims)

    def _cell(self, row: np.ndarray) -> bytes:
        # The compressed length varies by some bytes with the randomness of the encryption.
        for _ in range(8):
            raw: bytes = _encrypt(self._context, self.parameters, row).serialize()
            if len(raw) <= self.cell_bytes - 4:
                return _pad(raw, self.cell_bytes)
        raise ProtocolError(f"ciphertexts do not fit the {self.cell_bytes} bytes agreed on")


class Ciphertexts:
    """Hold an encrypted vector: it can be added to and written out, nothing else."""

    def __init__(self, vectors: list[Any], cell_bytes: int) -> None:
        self._vectors, self._cell_bytes = vectors, cell_bytes

    def add(self, other: Ciphertexts) -> None:
        """Add another vector under the same key, in place; all of it or, on refusal, nothing.
        Raises ProtocolError where the ciphertexts do not fit together."""
        try:
            added = [a + b for a, b in zip(self._vectors, other._vectors, strict=True)]
        except _REFUSED as error:
            raise ProtocolError(f"a ciphertext cannot be added ({error})") from error
        self._vectors = added

    def to_bytes(self) -> bytes:
        """Write the cells as in `encrypt`."""
        return b"".join(_pad(v.serialize(), self._cell_bytes) for v in self._vectors)

    def _decrypted(self) -> list[list[float]]:
        return [vector.decrypt() for vector in self._vectors]


class SecretContext:
    """Hold the key pair of a run. Whoever has it reads every ciphertext made under its public
    half."""

    def __init__(self, context: Any, parameters: HEParameters) -> None:
        self._context, self._parameters = context, parameters

    @classmethod
    def generate(cls, parameters: HEParameters) -> SecretContext:
        """Make a fresh key pair; the randomness is SEAL's own (Blake2 seeded by the system)."""
        bits = list(parameters.coeff_bits)
        if parameters.scheme == "bfv":
            context = _tenseal().context(
                _tenseal().SCHEME_TYPE.BFV, parameters.degree, n_threads=1,
                plain_modulus=parameters.plain_modulus, coeff_mod_bit_sizes=bits)
        else:
            context = _tenseal().context(
                _tenseal().SCHEME_TYPE.CKKS, parameters.degree, n_threads=1,
                coeff_mod_bit_sizes=bits)
            context.global_scale = 2.0**CKKS_SCALE_BITS
        return cls(context, parameters)

    @classmethod
    def from_bytes(cls, serialised: bytes, parameters: HEParameters) -> SecretContext:
        """Read the key pair of `to_bytes`. Raises ProtocolError where it is none."""
        context = _parse_context(serialised, parameters)
        if not context.is_private():
            raise ProtocolError("the stored context holds no secret key")
        return cls(context, parameters)

    def to_bytes(self) -> bytes:
        """Write the key pair, the secret key included: for the owner's own storage, and no one
        else."""
        stored: bytes = self._context.serialize(
            save_secret_key=True, save_galois_keys=False, save_relin_keys=False)
        return stored

    def public(self) -> PublicContext:
        """Return the public half: no secret, Galois or relinearisation key."""
        serialised = self._context.serialize(
            save_secret_key=False, save_galois_keys=False, save_relin_keys=False)
        context = _parse_context(serialised, self._parameters)
        zeros = np.zeros(self._parameters.slots, dtype=np.int64)
        longest = max(
            len(_encrypt(context, self._parameters, zeros).serialize()) for _ in range(16))
        cell = -(-(longest + longest // 64) // _CELL_STEP) * _CELL_STEP
        return PublicContext(serialised, self._parameters, cell, context)

    def decrypt(self, cells: bytes, cell_bytes: int, dims: int) -> np.ndarray:
        """Decrypt a sum of integers, int64 [dims], rounded to the integer grid: no raw output
        leaves here.

        Raises ProtocolError where a slot lies outside what the planned clients can add up to.
        """
        found = _read(self._context, self._parameters, cell_bytes, cells, dims)
        slots = np.array(found._decrypted(), dtype=np.float64 if self._ckks else np.int64)
        if self._ckks:
            slots = np.rint(slots * 2.0**self._parameters.unit_bits)
        most = self._parameters.clients * self._parameters.limb_abs
        if not np.isfinite(slots).all() or (np.abs(slots) > most).any():
            raise ProtocolError("the total is no sum of the clients' integers: out of their range")
        return from_slots(slots.astype(np.int64), self._parameters, dims)

    @property
    def _ckks(self) -> bool:
        return self._parameters.scheme == "ckks"


def read_public(serialised: bytes, parameters: HEParameters, cell_bytes: int) -> PublicContext:
    """Read a public context from the wire.

    Raises ProtocolError where it cannot be read, holds a secret key or has other parameters.
    """
    context = _parse_context(serialised, parameters)
    if context.is_private() or not context.is_public():
        raise ProtocolError("a published context must hold the public key and no secret key")
    return PublicContext(serialised, parameters, cell_bytes, context)


def to_slots(vector: np.ndarray, parameters: HEParameters) -> np.ndarray:
    """Write integers [dims] as digits in slots, int64 [ciphertexts, slots]; the lowest digits come
    first."""
    digits, rest = [], vector.astype(np.int64)
    half = 1 << (parameters.limb_bits - 1)
    for _ in range(parameters.limbs - 1):
        low = ((rest + half) & (2 * half - 1)) - half
        digits.append(low)
        rest = (rest - low) >> parameters.limb_bits
    flat = np.concatenate([*digits, rest])
    rows = np.zeros((parameters.ciphertexts(len(vector)), parameters.slots), dtype=np.int64)
    rows.reshape(-1)[: len(flat)] = flat
    return rows


def from_slots(rows: np.ndarray, parameters: HEParameters, dims: int) -> np.ndarray:
    """Read the integers of `to_slots`, or of a sum of such, int64 [dims]. Raises ProtocolError
    where unused slots are taken."""
    used = dims * parameters.limbs
    flat = rows.reshape(-1)
    if flat[used:].any():
        raise ProtocolError("the total is no sum of the clients' vectors: unused slots are taken")
    digits = flat[:used].reshape(parameters.limbs, dims)
    shifts = parameters.limb_bits * np.arange(parameters.limbs, dtype=np.int64)
    return (digits << shifts[:, None]).sum(axis=0)


def _encrypt(context: Any, parameters: HEParameters, row: np.ndarray) -> Any:
    if parameters.scheme == "bfv":
        return _tenseal().bfv_vector(context, row.tolist())
    return _tenseal().ckks_vector(context, (row / 2.0**parameters.unit_bits).tolist())


def _parse_context(serialised: bytes, parameters: HEParameters) -> Any:
    try:
        context = _tenseal().context_from(serialised, n_threads=1)
        key = context.seal_context().data.key_context_data()
        scheme = str(key.parms().scheme()).rsplit(".", 1)[-1].lower()
        degree, bits = key.parms().poly_modulus_degree(), key.total_coeff_modulus_bit_count()
        scale = context.global_scale if scheme == "ckks" else None
    except _REFUSED as error:
        raise ProtocolError(f"an encryption context cannot be read ({error})") from error
    agreed = (parameters.scheme, parameters.degree, sum(parameters.coeff_bits))
    if (scheme, degree, bits) != agreed or scale not in (None, 2.0**CKKS_SCALE_BITS):
        raise ProtocolError(f"an encryption context is {scheme} N={degree}, {bits} bits, "
                            f"and {agreed} was agreed on")
    return context


def _read(
    context: Any, parameters: HEParameters, cell_bytes: int, cells: bytes, dims: int
) -> Ciphertexts:
    count = parameters.ciphertexts(dims)
    if len(cells) != count * cell_bytes:
        raise ProtocolError(
            f"{len(cells)} bytes of ciphertext arrived where {count * cell_bytes} were agreed on")
    parts = [cells[i * cell_bytes : (i + 1) * cell_bytes] for i in range(count)]
    return Ciphertexts([_read_cell(context, parameters, part) for part in parts], cell_bytes)


def _read_cell(context: Any, parameters: HEParameters, cell: bytes) -> Any:
    length = int.from_bytes(cell[:4], "big")
    raw, padding = cell[4 : 4 + length], cell[4 + length :]
    if len(raw) != length or padding.strip(b"\0"):
        raise ProtocolError("a ciphertext has the wrong length")
    read = _tenseal().bfv_vector_from if parameters.scheme == "bfv" else _tenseal().ckks_vector_from
    try:
        vector = read(context, raw)
        held: Sequence[Any] = vector.ciphertext()
        fits = vector.size() == parameters.slots and len(held) == 1 and held[0].size() == 2
        first = context.seal_context().data.first_parms_id()
        fits = fits and held[0].parms_id() == first and not held[0].is_transparent()
        if parameters.scheme == "ckks":
            fits = fits and held[0].scale == 2.0**CKKS_SCALE_BITS
    except _REFUSED as error:
        raise ProtocolError(f"a ciphertext cannot be read ({error})") from error
    if not fits:
        raise ProtocolError("a ciphertext is of another size, level or scale than agreed on")
    return vector


def _pad(raw: bytes, cell_bytes: int) -> bytes:
    if len(raw) > cell_bytes - 4:
        raise ProtocolError(f"a ciphertext does not fit the {cell_bytes} bytes agreed on")
    return len(raw).to_bytes(4, "big") + raw + bytes(cell_bytes - 4 - len(raw))
