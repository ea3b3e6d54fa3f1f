"""A server that shows its clients different lists of survivors."""

from __future__ import annotations

import pytest

from privacy.aggregation.masked import Tolerance, codec
from privacy.aggregation.messages import SERVER, Message, pack, unpack
from privacy.errors import ProtocolError
from privacy.owners import Owners
from tests.adversary.parties import Field

CLIENTS = 240


def attacked(active: bool) -> tuple[Field, list[int], int]:
    """Stretches of the circle hear in turn that targets live, and that they are gone.

    A target sits between two stretches, so that half of its neighbours hear each. Returns the
    field, the targets, and how many clients refused.
    """
    tolerance = Tolerance(0.1, Owners(share=0.05), active, failure_bits=12)
    field = Field.of(tolerance, CLIENTS).to_masked()
    half, circle = field.terms.degree // 2, field.terms.graph.order.tolist()
    stretches = CLIENTS // (half + 1) // 2 * 2
    length = CLIENTS // stretches
    targets = [circle[length * i] for i in range(stretches)]
    everyone = (1 << CLIENTS) - 1
    gone = everyone & ~sum(1 << t for t in targets)
    shown = {n: (everyone, gone)[at // length % 2]
             for at, n in enumerate(circle) if n not in targets}
    if gone.bit_count() < field.terms.min_survivors:
        targets = targets[:CLIENTS - field.terms.min_survivors]
        gone = everyone & ~sum(1 << t for t in targets)
        shown = {n: members if members == everyone else gone for n, members in shown.items()}
    signed = {}
    for number, members in shown.items():
        answer = field.clients[number].sign(field.survivors(members, number))
        signed[number] = unpack(answer.body, {"signature": bytes})["signature"]
    refusals = 0
    for number, members in shown.items():
        near = [p for p in field.terms.graph.neighbours(number)
                if shown.get(p) == members]
        body = pack({"signatures": codec.signatures_to_bytes([(p, signed[p]) for p in near])})
        message = Message(codec.SIGNATURES, SERVER, number, field.terms.number, body)
        try:
            field.keep(field.clients[number].unmask(message), members)
        except ProtocolError:
            refusals += 1
    return field, targets, refusals


def test_it_reads_its_targets_where_only_a_semi_honest_server_was_asked_for() -> None:
    """Teeth: the named cheaper choice falls to this attack, with hardly anybody refusing."""
    field, targets, refusals = attacked(active=False)
    assert len(targets) >= 10 and refusals <= CLIENTS // 10
    assert field.readable(targets) == targets


def test_it_reads_nobody_by_default() -> None:
    field, targets, refusals = attacked(active=True)
    assert len(targets) >= 4
    assert field.readable(list(field.vectors)) == []
    assert refusals > CLIENTS // 10, "clients near a target miss signatures of their list"


@pytest.mark.parametrize("clients", [20, 60, CLIENTS])
def test_no_division_of_the_neighbours_is_enough(clients: int) -> None:
    """Whatever is told to whom: of both secrets together there are not enough honest shares."""
    tolerance = Tolerance(0.1, Owners(share=0.05), failure_bits=12)
    choice = tolerance.choice(tuple(range(clients)))
    worst = min(choice.colluding, 2 * choice.threshold - choice.degree - 1)
    assert worst >= 0
    honest = choice.degree - worst
    assert all(min(told, honest - told) + worst < choice.threshold for told in range(honest + 1))
