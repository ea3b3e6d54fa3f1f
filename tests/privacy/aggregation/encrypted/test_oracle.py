"""What a key holder cannot see, tried out, and said wherever encrypted sums are used."""

from __future__ import annotations

from typing import Any

import numpy as np

from privacy import (
    Budget,
    Ledger,
    PlainAggregator,
    Release,
    RoutedAggregator,
    Survivors,
    SystemSource,
    private_sums,
)
from privacy.aggregation.simulated.encrypted import EncryptedAggregator
from privacy.sampling import Everyone

ASSUMED = "the server submits the agreed sum"


def test_a_server_that_breaks_the_protocol_reads_one_client(bfv_world: Any) -> None:
    """One client's ciphertext 99 times, under everybody's signatures: the KeyHolder decrypts it."""
    world = bfv_world
    world.vectors[1] = np.arange(world.vectors.shape[1])
    terms = world.terms()
    world.agree(terms)
    server, uploads = world.server(terms), [world.upload(c, terms) for c in range(4)]
    for message in uploads:
        server.receive(message)
    one = world.read(uploads[1])["ciphertexts"]
    times = world.context.read(one, terms.dims)
    for _ in range(98):
        times.add(world.context.read(one, terms.dims))
    asked = world.bent(server.close(), total=times.to_bytes())
    told = world.read(world.holder.decrypt(asked))
    np.testing.assert_array_equal(np.frombuffer(told["totals"], "<i8"), 99 * world.vectors[1])


def test_that_is_said_in_every_statement() -> None:
    encrypted = EncryptedAggregator("bfv", 9, 2)
    for one in (encrypted, RoutedAggregator(PlainAggregator(), encrypted)):
        assert ASSUMED in one.server_sees
    sums = private_sums(
        [Release("x", (3,))], weights={"x": 1.0}, clip_norm=1.0, levels=64, noise="gaussian",
        place="central", shares=None, ledger=Ledger((), Budget(2.0, 1e-5)), rounds=1, population=9,
        sampling=Everyone(), aggregator=encrypted, survivors=Survivors(), source=SystemSource(),
        vault=None)
    assert any(ASSUMED in line for line in sums.statement().lines())
