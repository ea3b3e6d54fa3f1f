"""Cost of masked summing: whole rounds against plain ones, and the protocol alone over sizes."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from privacy import Cohort, RoundAborted, Survivors
from privacy.aggregation.masked import Floor, MaskedClient, MaskedServer, RoundTerms
from privacy.aggregation.masked.terms import BEACON_BYTES
from privacy.aggregation.masked.tolerance import Tolerance
from privacy.aggregation.simulated.masked_round import MaskedRound
from privacy.crypto import Directory, Identity, MaskStream
from privacy.owners import Owners
from privfedmm.audit.first_round import first_round
from privfedmm.config import RunConfig, resolve
from privfedmm.data import Dataset
from privfedmm.federation.flower import secaggplus_ms
from privfedmm.runs.record import set_threads
from privfedmm.runs.run import load_data

RATES = (0.0, 0.1, 0.3)
DEGREE, THRESHOLD = 20, 9  # of the one client that is timed alone
LARGE = 560_000  # values of the vector for which one client's masking is timed
_SIGNED = 2**20


def bench(dataset: str, clients: list[int], dims: int, seed: int) -> dict[str, Any]:
    """Measure seconds of whole rounds and of the protocol; `ratio_to_plain` is of wall seconds a
    round.

    Every round is played twice and the second counted: caches and allocator are warm for all.
    """
    set_threads(1)
    # The settings of a masked run, plain rounds included: the same vectors are summed.
    base = resolve(None, {"dataset": dataset, "seed": seed, "threads": 1,
                          "aggregation": "masked",
                          # A usual round: associations are summed in the first alone.
                          "algorithm.associations.weight": 0.0})
    data = load_data(base)
    plain = _round(base, data, "plain", "full")
    masked = _round(base, data, "masked", "full")
    semi_honest = _round(base, data, "masked", "full", "semi_honest")
    ring = _round(base, data, "masked", "ring")
    return {
        "dataset": data.name,
        "users": data.num_users,
        "plain_round_seconds": plain[0],
        "masked_round_seconds": masked[0],
        "semi_honest_round_seconds": semi_honest[0],
        "active_to_semi_honest": masked[0] / semi_honest[0],
        "ring_round_seconds": ring[0],
        "ratio_to_plain": masked[0] / plain[0],
        "bytes_up_per_client": masked[1],
        "semi_honest_bytes_up_per_client": semi_honest[1],
        "bytes_down_per_client": masked[2],
        **_one_client(dims),
        "flower_secaggplus_ms": {str(size): _rival(size) for size in (dims, LARGE)},
        "cases": [_case(n, rate, active, dims, seed)
                  for n in clients for rate in RATES for active in (True, False)],
    }


def _round(
    base: RunConfig, data: Dataset, aggregation: str, mode: str, server: str = "active"
) -> tuple[float, float, float]:
    values = base.model_dump()
    values["aggregation"] = values["group_statistics"] = aggregation
    values["secure"].update(mode=mode, server=server)
    config = RunConfig.model_validate(values)
    first_round(config, data, 0)
    view = first_round(config, data, 0)
    return view.seconds, view.bytes_up, view.bytes_down


def _one_client(dims: int) -> dict[str, float]:
    """CPU milliseconds of one client's masking, none of it shared with other clients."""
    degree, threshold = DEGREE, THRESHOLD
    cohort = tuple(range(40))
    identities = {n: Identity.generate(n) for n in cohort}
    directory = Directory.of(identities.values())
    out = {"mask_degree": float(degree)}
    for size in (dims, LARGE):
        terms = RoundTerms(os.urandom(16), 0, 0, cohort, size, degree, threshold, 30, b"model",
                           os.urandom(BEACON_BYTES))
        floor = Floor(threshold, 30, degree)
        players = {n: MaskedClient(identities[n], terms, directory, floor) for n in cohort}
        vector = np.arange(size, dtype=np.uint32)
        out[f"mask_ms_{size}_values"] = _masking(players, terms, directory, vector)
    return out


def _rival(size: int) -> dict[str, float] | str:
    """The same work by the primitives of Flower's SecAgg+, whose masks have 28 bits of seed."""
    try:
        return secaggplus_ms(size, DEGREE, THRESHOLD, 3)
    except ImportError as error:
        return f"not in this version of Flower ({error})"


def _masking(
    players: dict[int, MaskedClient], terms: RoundTerms, directory: Directory, vector: np.ndarray
) -> float:
    server = MaskedServer(terms, directory)
    for player in players.values():
        server.receive(player.advertise())
    shares = [players[m.receiver].share(m) for m in server.route_adverts()]
    for message in shares:
        server.receive(message)
    for message in server.route_shares():
        players[message.receiver].receive_shares(message)
    stream, spent = MaskStream(len(vector)), []
    for player in list(players.values())[:8]:
        started = time.process_time()
        player.mask(vector, stream)
        spent.append(time.process_time() - started)
    return 1000 * float(np.median(spent))


def _case(clients: int, rate: float, active: bool, dims: int, seed: int) -> dict[str, Any]:
    """The protocol alone, on random vectors; right is whether the sum is the survivors' exactly."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-_SIGNED, _SIGNED, (clients, dims)).astype(np.int32).view(np.uint32)
    survivors = Survivors(min(rate + 0.05, 0.45), rate, seed)
    cohort = Cohort(0, np.arange(clients), clients)
    cohort_ids = tuple(range(clients))
    tolerance = Tolerance(max(rate, 0.1), Owners(share=0.05), active)
    choice = tolerance.choice(cohort_ids)
    terms = RoundTerms(os.urandom(16), 0, 0, cohort_ids, dims, choice.degree, choice.threshold,
                       survivors.min_survivors(clients), b"model", os.urandom(BEACON_BYTES))
    identities = {n: Identity.generate(n) for n in range(clients)}
    round_ = MaskedRound(terms, identities, Directory.of(identities.values()),
                         survivors.dropouts(cohort))
    started = time.perf_counter()
    row: dict[str, Any] = {
        "clients": clients, "dropout": rate, "dims": dims,
        "server": "active" if active else "semi_honest", "degree": choice.degree,
        "threshold": choice.threshold,
    }
    try:
        round_.open()
        round_.submit(cohort.ids, vectors)
        result = round_.close()
    except RoundAborted as error:
        return row | {"finished": False, "why": str(error)}
    expected = vectors[result.survivors].sum(0, dtype=np.uint32)
    return row | {
        "finished": True,
        "right": bool(np.array_equal(result.total, expected)),
        "survivors": len(result.survivors),
        "wall_seconds": time.perf_counter() - started,
        "client_cpu_seconds": result.seconds_of("client"),
        "server_cpu_seconds": result.seconds_of("server"),
        "bytes_up_per_client": sum(result.bytes_up.values()) / clients,
        "bytes_down_per_client": sum(result.bytes_down.values()) / clients,
    }
