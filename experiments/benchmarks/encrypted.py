"""Cost of encrypted group statistics: what clients, server and key holder compute and send."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from privacy import Cohort, Release, Survivors, SystemSource, Task
from privacy.aggregation.encrypted.encryption_plan import EncryptionPlan
from privacy.aggregation.messages import KEY_HOLDER, Transcript
from privacy.aggregation.simulated.encrypted_round import EncryptedRun
from privacy.crypto.he_parameters import Scheme
from privacy.crypto.keys import Identity
from privacy.quantise import most_levels

SCHEMES: tuple[Scheme, ...] = ("bfv", "ckks")
_BLOCK = 64


def bench(clients: list[int], groups: int, rank: int, dim: int) -> dict[str, Any]:
    """Play one round for each size and scheme; the first figures are of the first size under bfv.

    Vectors: per group one count, a signal of 64 values, a table [1 + rank, dim] and a user vector,
    as integers of the size that a run without a budget sends.
    """
    dims = groups * (1 + 64 + (1 + rank) * dim + dim)
    cases = [_case(n, scheme, dims) for n in clients for scheme in SCHEMES]
    first = cases[0]
    return {name: first[name] for name in (
        "client_ms", "client_bytes", "server_ms_per_client", "keyholder_ms")} | {
        "dims": dims, "groups": groups, "cases": cases}


def _case(clients: int, scheme: Scheme, dims: int) -> dict[str, Any]:
    largest = most_levels(clients)
    plan = EncryptionPlan(
        os.urandom(16).hex(), scheme, clients, Survivors(0.1).min_survivors(clients))
    task = Task(Cohort(0, np.arange(clients), clients), (Release("statistics", (dims,)),),
                plan.min_survivors, limit=largest)
    parameters = plan.parameters(task)
    run = EncryptedRun(
        plan, parameters, map(Identity.generate, range(clients)), Identity.generate(KEY_HOLDER),
        None, lambda state: None, Transcript(keep_bodies=False))
    round_ = run.open(task)
    source, expected = SystemSource(), np.zeros(dims, dtype=np.int64)
    for start in range(0, clients, _BLOCK):
        ids = np.arange(start, min(start + _BLOCK, clients))
        raw = source.raw("vectors", start, 4 * len(ids) * dims)
        words = np.frombuffer(raw, dtype=np.uint32).astype(np.int64)
        vectors = (words % (2 * largest + 1) - largest).reshape(len(ids), dims)
        expected += vectors.sum(0)
        round_.submit(ids, vectors)
    result = round_.close()
    return {
        "clients": clients, "scheme": scheme, "max_abs": largest,
        "primes": list(parameters.coeff_bits), "limbs": parameters.limbs,
        "headroom_bits": parameters.headroom_bits, "security_bits": parameters.security_bits,
        "exact": bool(np.array_equal(result.totals, expected)),
        "client_ms": 1000 * result.seconds["clients"] / clients,
        "client_bytes": result.bytes_sent["clients"] / clients,
        "server_ms_per_client": 1000 * result.seconds["server"] / clients,
        "keyholder_ms": 1000 * result.seconds["key_holder"],
    }
