"""Settle the parameters of the encryption (security, range, error) before a key is made.

A ciphertext that comes out of SEAL's public-key encryption is wrong, a coefficient, by
    r0 + r1 * s + e,    |r0|, |r1| <= 1/2 the rounding by the special prime p, s ternary,
                        |e| <= 21 (2 N + 1) / p the encryption noise after that rounding
and by one more rounding <= 1/2 of the message. Of n clients these errors add up. `certain` is
the largest they can be. `likely` is Hoeffding's bound (JASA 1963, theorem 2), missed somewhere
in 2^20 coefficients with probability below 2^-64; it takes the roundings as independent and
uniform, as they are unless ring-LWE is broken. Either is kept away by a factor of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from privacy.errors import CapacityError

Scheme = Literal["ckks", "bfv"]
CKKS_SCALE_BITS = 40
# Largest coefficient modulus, special prime included, for 256, 192 and 128 bits of security with
# ternary secrets: Albrecht et al., Homomorphic Encryption Standard (2018), table 1.
_STANDARD = {2048: (29, 37, 54), 4096: (58, 75, 109), 8192: (118, 152, 218)}
_LOG_MISS = (64 + 20 + 1) * math.log(2.0)  # two tails, 2^20 coefficients, 2^-64 in all
_CHOICES: dict[Scheme, dict[int, tuple[tuple[int, ...], ...]]] = {
    "bfv": {4096: ((40, 40), (48, 48), (54, 54)), 8192: ((60, 60), (60, 60, 60))},
    "ckks": {4096: ((54, 54),), 8192: ((60, 60),)},
}
_MOST_LIMBS = 4


@dataclass(frozen=True)
class HEParameters:
    """Describe one key: what is encrypted, for how many clients, and that their sum stays exact.

    coeff_bits: sizes of the primes, the special one last. clients, max_abs: the sum of `clients`
    integers of at most max_abs is exact. limbs: slots an integer takes, limb_bits each.
    plain_modulus: of BFV, 0 for CKKS. unit_bits: CKKS encodes integer / 2^unit_bits at scale 2^40.
    Raises CapacityError where security, range or error do not hold.
    """

    scheme: Scheme
    degree: int
    coeff_bits: tuple[int, ...]
    clients: int
    max_abs: int
    limbs: int
    limb_bits: int
    plain_modulus: int
    unit_bits: int

    def __post_init__(self) -> None:
        if self.scheme not in _CHOICES:
            raise CapacityError(f"there is no scheme {self.scheme!r}; take 'ckks' or 'bfv'")
        if self.clients < 1 or self.max_abs < 1 or self.limbs < 1 or len(self.coeff_bits) < 2:
            raise CapacityError("clients, max_abs and limbs start at 1, primes at two")
        if self.security_bits < 128:
            raise CapacityError(
                f"{sum(self.coeff_bits)} bits of primes at N={self.degree} are below 128-bit "
                f"security; N={self.degree} allows {_STANDARD.get(self.degree, (0, 0, 0))[2]}"
            )
        if self.scheme == "bfv" and (
                self.plain_modulus < 2 or self.plain_modulus % (2 * self.degree) != 1):
            raise CapacityError("no plain modulus fits: too many clients or too large values")
        if self.limbs * self.limb_bits < self.max_abs.bit_length() + 1:
            raise CapacityError(f"{self.limbs} limbs of {self.limb_bits} bits miss {self.max_abs}")
        if 2 * self.clients * (self.max_abs + self.limb_abs) >= 2**62:
            raise CapacityError("the total may leave 62 bits; take a smaller max_abs")
        if self.headroom_bits < 0.0:
            raise CapacityError(
                f"{self.clients} clients of {self.limb_abs} a slot do not fit {self.scheme} with "
                f"primes {self.coeff_bits}: the rounded total would not be certain"
            )

    @property
    def slots(self) -> int:
        """Return the integers that one ciphertext holds."""
        return self.degree if self.scheme == "bfv" else self.degree // 2

    @property
    def limb_abs(self) -> int:
        """Return the largest magnitude in a slot of one client."""
        return self.max_abs if self.limbs == 1 else 2 ** (self.limb_bits - 1) + 1

    @property
    def security_bits(self) -> int:
        """Return 128, 192 or 256 bits (classical) by the standard's table, 0 where it gives
        less."""
        table = _STANDARD.get(self.degree, (0, 0, 0))
        fits = [b for b, most in zip((256, 192, 128), table, strict=True)
                if sum(self.coeff_bits) <= most]
        return fits[0] if fits else 0

    @property
    def error_bound(self) -> float:
        """Return the largest error of the total, in integers, before it is rounded; must be below
        1/2."""
        if self.scheme == "bfv":
            return _likely(self.degree, self.coeff_bits, self.clients) * self.plain_modulus / (
                2.0 ** _data_bits(self.coeff_bits))
        return _ckks_error(self.degree, self.coeff_bits, self.clients) / self._ckks_step

    @property
    def headroom_bits(self) -> float:
        """Return the bits between the guarded error and the rounding, or of range, whichever is
        less."""
        error = -math.log2(4.0 * self.error_bound) if self.error_bound > 0 else -1.0
        total = float(self.clients * self.limb_abs)
        if self.scheme == "bfv":
            room = (self.plain_modulus - 1) / (2.0 * total)
        else:
            room = 2.0 ** (_data_bits(self.coeff_bits) - 2) / (total * self._ckks_step)
        return min(error, math.log2(room))

    @property
    def certain(self) -> bool:
        """Tell whether the total is exact in every case, not only but for 2^-64."""
        if self.scheme == "ckks":
            return False
        worst = _certain(self.degree, self.coeff_bits, self.clients)
        return 4.0 * worst * self.plain_modulus <= 2.0 ** _data_bits(self.coeff_bits)

    @property
    def _ckks_step(self) -> float:
        return 2.0 ** (CKKS_SCALE_BITS - self.unit_bits)

    def ciphertexts(self, dims: int) -> int:
        """Return how many ciphertexts dims integers take."""
        return -(-dims * self.limbs // self.slots)


def plan(
    scheme: Scheme, clients: int, max_abs: int, degree: int = 4096, certain: bool = False
) -> HEParameters:
    """Choose the parameters with the fewest bytes a value that keep the sum exact.

    clients: most contributors of a total. max_abs: largest magnitude of one client's integer.
    certain: ask for exactness in every case instead of but for 2^-64 (BFV alone offers it).
    Raises CapacityError where none do.
    """
    refusal = CapacityError(f"no parameters for {scheme!r} at N={degree}")
    best: tuple[int, HEParameters] | None = None
    for limbs in range(1, _MOST_LIMBS + 1):
        for coeff_bits in _CHOICES.get(scheme, {}).get(degree, ()):
            try:
                found = _fit(scheme, degree, coeff_bits, clients, max_abs, limbs)
            except CapacityError as error:
                refusal = error
                continue
            if certain and not found.certain:
                refusal = CapacityError(f"{scheme!r} cannot be exact in every case here")
                continue
            size = limbs * sum(coeff_bits[:-1])
            if best is None or size < best[0]:
                best = (size, found)
    if best is None:
        raise refusal
    return best[1]


def _fit(
    scheme: Scheme, degree: int, coeff_bits: tuple[int, ...], clients: int, max_abs: int, limbs: int
) -> HEParameters:
    limb_bits = -(-(max_abs.bit_length() + 1) // limbs)
    limb_abs = max_abs if limbs == 1 else 2 ** (limb_bits - 1) + 1
    modulus, unit_bits, data = 0, 0, _data_bits(coeff_bits)
    if scheme == "bfv":
        needed = 2 * clients * limb_abs + 1
        for noise in (_certain, _likely):
            most = int(2.0**data / (4.0 * noise(degree, coeff_bits, clients)))
            if most > needed + 2 * degree:
                # Half of the spare bits for the noise, half for the range: a total that is no
                # sum of the clients then falls outside their range in almost every slot.
                middle = math.isqrt(needed * most)
                modulus = _prime_above(min(middle, 2**58), 2 * degree)
                break
    else:
        error = math.log2(_ckks_error(degree, coeff_bits, clients))
        step_bits = round((data - math.log2(clients * limb_abs) + error) / 2.0)
        unit_bits = CKKS_SCALE_BITS - step_bits
    return HEParameters(
        scheme, degree, coeff_bits, clients, max_abs, limbs, limb_bits, modulus, unit_bits)


def _data_bits(coeff_bits: tuple[int, ...]) -> int:
    """Bits that the primes which carry data have for certain: each is above 2^(bits-1)."""
    return sum(bits - 1 for bits in coeff_bits[:-1])


def _encryption(degree: int, coeff_bits: tuple[int, ...], clients: int) -> float:
    return clients * 21.0 * (2 * degree + 1) / 2.0 ** (coeff_bits[-1] - 1)


def _certain(degree: int, coeff_bits: tuple[int, ...], clients: int) -> float:
    return clients * (degree + 2) / 2.0 + _encryption(degree, coeff_bits, clients)


def _likely(degree: int, coeff_bits: tuple[int, ...], clients: int) -> float:
    tail = math.sqrt(clients * (degree + 2) * _LOG_MISS / 2.0)
    return tail + _encryption(degree, coeff_bits, clients)


def _ckks_error(degree: int, coeff_bits: tuple[int, ...], clients: int) -> float:
    """Error of a slot: coefficients meet powers of a root of unity, and r1 meets s there too.

    |s| at the root is bounded by Hoeffding as well. The last term stands for the two Fourier
    transforms in float64 (8 log2(N) sqrt(N) roundings of the largest value, each way).
    """
    secret = 2.0 * degree * _LOG_MISS
    tail = math.sqrt(clients * degree * (2.0 + secret) * _LOG_MISS / 2.0)
    largest = 2.0 ** (_data_bits(coeff_bits) - 2)
    floats = 16.0 * math.log2(degree) * math.sqrt(degree) * 2.0**-53 * largest
    return tail + floats + _encryption(degree, coeff_bits, clients) * degree


def _prime_above(least: int, step: int) -> int:
    """Smallest prime p >= least with p = 1 modulo step, so that every slot holds an integer."""
    candidate = -(-(least - 1) // step) * step + 1
    while not _is_prime(candidate):
        candidate += step
    return candidate


def _is_prime(number: int) -> bool:
    """Miller and Rabin with the bases that settle every 64-bit number (Sorenson, Webster 2015)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if number < 2 or any(number % base == 0 for base in bases):
        return number in bases
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in bases:
        x = pow(base, odd, number)
        if x not in (1, number - 1) and not any(
            (x := x * x % number) == number - 1 for _ in range(twos - 1)
        ):
            return False
    return True
