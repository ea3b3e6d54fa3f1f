"""Bytes that are hashed, signed or saved stay what they were: a run may outlive a release.

A changed digest here means that parties of two versions cannot finish a round together, and that
what an earlier version saved cannot be read. Those of terms, bond, graph
and attendance are of the version in which the mask graph is drawn from a beacon; the others are
older than the present code.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from privacy.aggregation.encrypted.terms import (
    Terms,
    context_statement,
    result_statement,
    upload_statement,
)
from privacy.aggregation.masked import RoundTerms, codec
from privacy.aggregation.masked.replay_guard import Attendance
from privacy.aggregation.messages import pack
from privacy.crypto.he_parameters import HEParameters, plan


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def masked() -> RoundTerms:
    return RoundTerms(b"run 16 bytes ...", 3, 1, (2, 5, 8, 11, 14), 7, 4, 3, 4, b"plan",
                      bytes(range(32)))


@pytest.fixture
def parameters() -> HEParameters:
    return plan("bfv", 10, 1000)


@pytest.fixture
def encrypted(parameters: HEParameters) -> Terms:
    return Terms("run", 3, 1, (2, 5, 8, 11), 7, 900, 3, bytes(range(32)), parameters)


def test_masked_terms(masked: RoundTerms) -> None:
    assert sha(masked.to_bytes()) == (
        "7e9d82000dd0bf3a81d8c7247193ca738df7115900e80e412b67cba7fc2b2c92")
    assert masked.setup_digest.hex() == (
        "ce449e165db06ebd7628601adbd75a1c1e85e7597ca586c8d575e1f3d3c95b59")
    assert masked.digest.hex() == "e41cad30412e5711a18c39ece6a8d09814fd8d19d3762df4d1583dd2f5a93908"
    assert RoundTerms.from_bytes(masked.to_bytes()) == masked


def test_what_binds_masked_messages(masked: RoundTerms) -> None:
    seed, bond = bytes(range(16)), codec.round_bond(masked, 0b11011)
    assert codec.commitment(masked, 5, seed).hex() == (
        "4b7ca19d083db0467dab5a84148758b9ecf04f0ee41fa6dc0932fce82ed470ec")
    assert bond.hex() == "8c66a9c210b92db15c5ec79434af9c4d24c64153c11c8b5c9f3fdbb3f4bf797b"
    advert = codec.Advert(5, bytes(32), bytes(range(32)), bytes(32), bytes(64))
    bound = (codec.advert_message(masked, advert) + codec.channel_info(masked, 2, 5)
             + codec.share_context(masked, 2, 5) + codec.mask_info(bond, 2, 5)
             + codec.survivors_message(bond, codec.members_to_bytes(0b11011, masked)))
    assert sha(bound) == "2efffe8f36bd2a41fa2732a70cc9a4b9dd70fc927322309adf852f52aa62767d"


def test_masked_graph(masked: RoundTerms) -> None:
    graph = RoundTerms(masked.run, 3, 1, tuple(range(9)), 7, 4, 3, 4, None, bytes(range(32))).graph
    assert [graph.neighbours(place) for place in range(3)] == [
        [2, 6, 4, 5], [3, 7, 6, 2], [6, 1, 0, 4]]


def test_attendance() -> None:
    assert sha(Attendance(b"run", (3, 1), 2).to_bytes()) == (
        "4af7faf85304beeb29baf8709c43e06b433fe49e961aa7a75746d7cba65ab61e")


def test_encrypted_terms(encrypted: Terms) -> None:
    assert sha(encrypted.to_bytes()) == (
        "e035687498d47baf4cc8dac7fded6143c90aa43eb7f5a70cbd6fec948cd1dc45")
    assert Terms.from_bytes(encrypted.to_bytes()) == encrypted


def test_encrypted_statements(encrypted: Terms, parameters: HEParameters) -> None:
    statements = (
        upload_statement(encrypted, 5, bytes(32)),
        context_statement("run", bytes(32), parameters, 4096),
        result_statement(encrypted, np.arange(7, dtype="<i8").tobytes(), [2, 5, 8]),
    )
    assert sha(b"".join(pack(statement) for statement in statements)) == (
        "13aebf28096bcfcaaa068368eedc6502d88f1fcd6e3f65bc7731e9c228f708ae")
