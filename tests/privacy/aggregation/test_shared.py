"""What parties in one process and parties apart have in common: terms, routes, noise, the ring."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privacy import Cohort, ProtocolError, Release, Task
from privacy.aggregation.deployed import WAYS, Agreed, way_of
from privacy.aggregation.encrypted.encryption_plan import EncryptionPlan
from privacy.aggregation.holder_noise import holder_noise, noised
from privacy.aggregation.masked.mask_plan import MaskPlan
from privacy.aggregation.masked.tolerance import Tolerance
from privacy.aggregation.messages import KEY_HOLDER, Transcript
from privacy.aggregation.ring import from_ring, to_ring
from privacy.aggregation.routes import by_route, merged
from privacy.aggregation.simulated.encrypted_round import EncryptedRun
from privacy.aggregator import Sums
from privacy.crypto.keys import Identity
from privacy.owners import Owners

UPDATE, TABLE = Release("update", (4,)), Release("table", (2, 3), statistic=True)


TOLERANCE = Tolerance(0.1, Owners(share=0.05), True, 12)


def task(clients: int = 30, *releases: Release, **more: object) -> Task:
    cohort = Cohort(3, np.arange(clients), clients)
    return Task(cohort, releases or (UPDATE, TABLE), 20, 1, **more)  # type: ignore[arg-type]


def agreed(updates: str, statistics: str) -> Agreed:
    return Agreed(b"run", updates, statistics, 30, 20, TOLERANCE, {}, "bfv")  # type: ignore[arg-type]


def test_the_ring_holds_what_fits_32_bits() -> None:
    edges = np.array([[0, 1, -1], [2**31 - 1, -(2**31), 7]])
    assert to_ring(edges).dtype == np.uint32
    back = from_ring(to_ring(edges))
    assert back.dtype == np.int64 and (back == edges).all()
    # A sum that passes through the other half of the ring comes back.
    total = to_ring(edges[1]) + to_ring(np.array([1, -1, -8]))
    assert from_ring(total - to_ring(np.array([1, -1, 0]))).tolist() == [2**31 - 1, -(2**31), -1]


def test_parties_apart_find_the_terms_of_one_process() -> None:
    """But for the plan's hash, which comes to parties apart with the plan itself."""
    plan = MaskPlan(b"run", TOLERANCE, bytes(32))
    early, whole = agreed("masked", "masked").masked_terms(task()), plan.terms(task(), b"hash")
    assert early.setup_digest == whole.setup_digest
    assert early.with_beacon(bytes(32)).graph.order.tolist() == whole.graph.order.tolist()
    assert plan.floor(task()) == agreed("masked", "masked").floor(task())
    assert (whole.dims, whole.number) == (10, (3, 1))
    with pytest.raises(ProtocolError, match="needs 3 clients or more"):
        plan.terms(task(2), None)


def test_encrypting_parties_apart_find_the_terms_of_one_process() -> None:
    """Word for word, for nothing of them is still to come."""
    apart = agreed("plain", "encrypted")
    plan = EncryptionPlan(apart.run.hex(), "bfv", 30, 20)
    work = task(limit=1000.4)
    run = EncryptedRun(plan, plan.parameters(work), map(Identity.generate, range(30)),
                       Identity.generate(KEY_HOLDER), None, lambda state: None, Transcript())
    together = run.open(work).terms
    assert apart.encrypted_terms(work, run.context).to_bytes() == together.to_bytes()
    assert (together.dims, together.at, together.max_abs) == (10, (3, 1), 1001)
    assert together.min_survivors == apart.min_decrypted == 20
    # The total of one client is its vector, whatever the run allows.
    assert EncryptionPlan("run", "bfv", 30, 1).min_decrypted == 2
    with pytest.raises(ProtocolError, match="min_survivors is 20"):
        run.open(task(19, limit=1000.4))
    with pytest.raises(ProtocolError, match="client 30 of the cohort has no identity"):
        run.open(task(31, limit=1000.4))


def test_a_way_that_no_node_speaks_has_no_place_in_an_agreement() -> None:
    assert [way_of(name) for name in WAYS] == ["plain", "masked", "encrypted"]
    with pytest.raises(ProtocolError, match="protocol of 'ring'; they speak plain, masked, enc"):
        way_of("ring")


def test_releases_go_their_ways() -> None:
    assert [(s, [r.name for r in part.releases]) for s, part in by_route(task())] == [
        (False, ["update"]), (True, ["table"])]
    assert [s for s, _ in by_route(task(30, TABLE))] == [True]
    legs = agreed("masked", "encrypted").legs(task())
    assert [(leg.way, leg.task.releases) for leg in legs] == [
        ("masked", (UPDATE,)), ("encrypted", (TABLE,))]
    assert [leg.task.releases for leg in agreed("masked", "masked").legs(task())] == [
        (UPDATE, TABLE)]


def test_merged_sums_count_the_fewest_survivors() -> None:
    one = Sums({"a": torch.ones(2)}, {}, 10, 5, 3, {"x": 1.0, "y": 2.0}, frozenset({"a"}))
    other = Sums({"b": torch.zeros(1)}, {}, 7, 4, 1, {"x": 0.5})
    both = merged([one, other])
    assert both.sums.keys() == {"a", "b"} and both.survivors == 4
    assert (both.bytes_up, both.bytes_down) == (17, 4)
    assert both.seconds == {"x": 1.5, "y": 2.0} and both.noised == {"a"}


def test_the_key_holder_draws_release_by_release() -> None:
    def draw(total: torch.Tensor, name: str) -> torch.Tensor:
        return total + {"update": 1, "table": 2}[name]

    assert holder_noise(task(key_holder_noise=draw), 10).tolist() == [1] * 4 + [2] * 6
    assert noised(task(key_holder_noise=draw)) == {"update", "table"}
    for quiet in (task(), None):
        assert holder_noise(quiet, 10).tolist() == [0] * 10
    assert not noised(task())
