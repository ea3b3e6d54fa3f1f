"""A server and the owners of nodes that put together all they have, after an honest round."""

from __future__ import annotations

from itertools import combinations

import pytest

from privacy.aggregation.masked import Tolerance, codec
from privacy.aggregation.messages import SERVER, Message, pack, unpack
from privacy.errors import ProtocolError
from privacy.owners import Owners
from tests.adversary.parties import Field

# The nodes of the deployment guide, 120, 80 and 95 users, at a fifth of their size.
SIZES = (24, 16, 19)
OWNED = [list(range(0, 24)), list(range(24, 40)), list(range(40, 59))]
EVERYONE = [n for owned in OWNED for n in owned]


def after(tolerance: Tolerance, owners: tuple[int, ...], clients: int = 59) -> Field:
    """What is known after a round that all played by the rules, the owners colluding."""
    field = Field.of(tolerance, clients).to_masked()
    field.collude([n for owner in owners for n in OWNED[owner]])
    total = field.open_honestly()
    assert (total == sum(field.vectors.values())).all()
    return field


def test_one_owner_reads_all_others_where_users_count_alone() -> None:
    """Teeth: the graph for .4 of independent dropouts and .05 of independent colluders, as if no
    owner held more than a user, lets the owner of 24 read each of the 35 others."""
    alone = Tolerance(0.4, Owners(share=0.05), active_server=False)
    field = after(alone, (0,))
    assert field.readable(OWNED[1] + OWNED[2]) == OWNED[1] + OWNED[2]


# The default suite has the largest owner alone, and the largest pair.
ONE_OWNER = pytest.mark.parametrize("owner", [
    0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])


@pytest.mark.parametrize("active", [True, False])
@ONE_OWNER
def test_any_one_owner_reads_nobody(owner: int, active: bool) -> None:
    field = after(Tolerance(0.27, Owners(SIZES), active), (owner,))
    others = [n for n in EVERYONE if n not in OWNED[owner]]
    assert field.readable(others) == []


def test_the_sizes_of_the_guide_are_refused_at_its_dropout() -> None:
    with pytest.raises(ProtocolError, match="at most 11 colluding clients, and 24 are asked for"):
        Field.of(Tolerance(0.4, Owners(SIZES)), 59)


def lied_to(pair: tuple[int, ...], target: int) -> Field:
    """Owners who sign and reveal whatever the server wants, and a server that tells half of the
    honest users that a target lives, and the other half that it is gone."""
    field = Field.of(Tolerance(0.27, Owners(SIZES)), 59).to_masked()
    colluding = [n for owner in pair for n in OWNED[owner]]
    field.collude(colluding)
    honest = [n for n in EVERYONE if n not in colluding and n != target]
    lists = {True: (1 << 59) - 1, False: (1 << 59) - 1 & ~(1 << target)}
    for lives, members in lists.items():
        told = honest[::2] if lives else honest[1::2]
        signed = {n: field.clients[n]._identity.sign(codec.survivors_message(
            field.clients[n]._state.bond, codec.members_to_bytes(members, field.terms)))
            for n in colluding}
        for number in told:
            answer = field.clients[number].sign(field.survivors(members, number))
            signed[number] = unpack(answer.body, {"signature": bytes})["signature"]
        for number in told:
            body = pack({"signatures": codec.signatures_to_bytes(
                [(n, s) for n, s in signed.items() if n != number])})
            message = Message(codec.SIGNATURES, SERVER, number, field.terms.number, body)
            try:
                field.keep(field.clients[number].unmask(message), members)
            except ProtocolError:
                continue
    return field


@ONE_OWNER
def test_a_lying_server_with_any_one_owner_reads_nobody(owner: int) -> None:
    for target in (OWNED[(owner + 1) % 3][0], OWNED[(owner + 2) % 3][-1]):
        assert lied_to((owner,), target).read(target) is None


@pytest.mark.parametrize("pair", [
    pytest.param(pair, marks=[] if pair == (0, 2) else pytest.mark.slow)
    for pair in combinations(range(3), 2)])
def test_two_owners_are_more_than_was_stated(pair: tuple[int, int]) -> None:
    """Teeth: beyond the coalition that the statement names users are read. By what they keep alone
    where that is a threshold (43 of the two larger, t is 42), and by lies in any case."""
    field = after(Tolerance(0.27, Owners(SIZES)), pair)
    left = [n for owner in set(range(3)) - set(pair) for n in OWNED[owner]]
    held = sum(SIZES[owner] for owner in pair)
    assert field.readable(left) == (left if held >= field.terms.threshold else [])
    lied = lied_to(pair, left[0])
    assert lied.readable([left[0]]) == [left[0]]
