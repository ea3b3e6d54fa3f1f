"""The bodies of encrypted summing: for every kind of message its fields, their types and bounds."""

from __future__ import annotations

from privacy.aggregation.forms import Form, Items, Raw, Record, Text, Whole

CONTEXT, TERMS, UPLOAD, TOTAL, RESULT = (
    "he-context", "he-terms", "he-upload", "he-total", "he-result")

_HASH, _SIGNATURE = Raw(32, 32), Raw(64, 64)
_MOST = 2**30  # bytes of ciphertexts, context or total; far above any parameters that are planned
_CLIENTS = Items(Whole())
PARAMETERS = Record({
    "scheme": Text(8), "degree": Whole(1, 2**16), "coeff_bits": Items(Whole(1, 62), 16),
    "clients": Whole(1), "max_abs": Whole(1), "limbs": Whole(1, 64), "limb_bits": Whole(0, 62),
    "plain_modulus": Whole(), "unit_bits": Whole(-64, 64)})
# Of terms and state the fields keep the names that are in every digest and on every disk.
BODIES: dict[str, dict[str, Form]] = {
    CONTEXT: {"run": Text(), "context": Raw(1, _MOST), "parameters": PARAMETERS,
              "cell_bytes": Whole(5, 2**24), "signature": _SIGNATURE},
    TERMS: {"run": Text(), "round": Whole(), "attempt": Whole(), "cohort": _CLIENTS,
            "dims": Whole(1, _MOST), "max_abs": Whole(1), "n_min": Whole(), "context": _HASH,
            "parameters": PARAMETERS},
    UPLOAD: {"terms": _HASH, "ciphertexts": Raw(1, _MOST), "signature": _SIGNATURE},
    # The hashes and the signatures of all contributors, one after the other.
    TOTAL: {"terms": _HASH, "total": Raw(1, _MOST), "contributors": _CLIENTS,
            "ciphertexts": Raw(), "signatures": Raw()},
    RESULT: {"totals": Raw(8, _MOST), "contributors": _CLIENTS, "signature": _SIGNATURE},
}
STATE: dict[str, Form] = {
    "run": Text(), "secret": Raw(1), "public": Raw(1), "cell_bytes": Whole(5, 2**24),
    "parameters": PARAMETERS, "decrypted": Whole(-1), "agreed": Items(Whole(-1), 2),
    "answer": Items(Raw(), 2)}
