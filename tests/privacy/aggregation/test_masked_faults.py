"""Every bad message: a typed error, the receiver as before, and then the right sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from privacy.aggregation.masked import Attendance, Floor, MaskedClient, RoundTerms, codec
from privacy.aggregation.messages import SERVER, Message, pack, unpack
from privacy.crypto import KeyPair
from privacy.errors import ProtocolError

ME = 10
Fault = Callable[..., Message]


def flip(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def edited(field: str, change: Callable[[bytes], bytes]) -> Fault:
    """A fault that rewrites one field of the message's body."""
    def fault(play, message):  # type: ignore[no-untyped-def]
        values = unpack(message.body, dict.fromkeys(FIELDS[message.kind], bytes))
        return replace(message, body=pack({**values, field: change(values[field])}))
    return fault


FIELDS = {
    "adverts": ("adverts",), "sealed": ("shared", "sealed"), "survivors": ("survivors",),
    "signatures": ("signatures",), "advert": ("advert",), "shares": ("sealed",),
    "signature": ("signature",), "unmask": ("shares", "without"),
}
ADVERT, SEALED, SIGNED = 168, 166, 72
UNMASKED = {"shares": bytes, "without": bytes}


def signed_advert(play, sender, identity, **changes):  # type: ignore[no-untyped-def]
    """An advert that is well signed under `identity`, with changed keys."""
    advert = codec.Advert(sender, KeyPair.generate().public, KeyPair.generate().public, bytes(32),
                         bytes(64))._replace(**changes)
    message = codec.advert_message(changes.pop("terms", play.terms), advert)
    return codec.adverts_to_bytes([advert._replace(signature=identity.sign(message))])


def planted(make: Callable[..., bytes]) -> Fault:
    """The first advert replaced by another."""
    def fault(play, message):  # type: ignore[no-untyped-def]
        body = unpack(message.body, {"adverts": bytes})["adverts"]
        return replace(message, body=pack({"adverts": make(play, body) + body[ADVERT:]}))
    return fault


def first_of(body: bytes) -> int:
    return int.from_bytes(body[:8], "little")


def small_order(play, body):  # type: ignore[no-untyped-def]
    sender = first_of(body)
    return signed_advert(play, sender, play.identities[sender], channel=bytes(32))


def keys_of_another(play, body):  # type: ignore[no-untyped-def]
    sender, other = first_of(body), codec.adverts_from_bytes(body)[1]
    return signed_advert(play, sender, play.identities[sender], channel=other.channel)


def of_the_stranger(play, _body):  # type: ignore[no-untyped-def]
    return signed_advert(play, 999, play.stranger)


def of_nobody(play, _body):  # type: ignore[no-untyped-def]
    return signed_advert(play, 555, play.stranger)


def of_another_round(play, body):  # type: ignore[no-untyped-def]
    """The replay of an advert of the attempt before: signed by its client, for other terms."""
    sender = first_of(body)
    advert = codec.Advert(sender, KeyPair.generate().public, KeyPair.generate().public, bytes(32),
                         bytes(64))
    message = codec.advert_message(play.other_terms(attempt=0), advert)
    return codec.adverts_to_bytes(
        [advert._replace(signature=play.identities[sender].sign(message))]
    )


def another_receiver(play, message):  # type: ignore[no-untyped-def]
    """Shares sealed to another client, sent to this one."""
    other = play.routed[play.terms.cohort[1]]
    theirs = unpack(other.body, {"shared": bytes, "sealed": bytes})["sealed"]
    records = codec.sealed_from_bytes(theirs)
    values = unpack(message.body, {"shared": bytes, "sealed": bytes})
    mine = codec.sealed_from_bytes(values["sealed"])
    sealed = codec.sealed_to_bytes([records.get(peer, own) for peer, own in mine.items()])
    return replace(message, body=pack({**values, "sealed": sealed}))


def swapped_senders(play, message):  # type: ignore[no-untyped-def]
    values = unpack(message.body, {"shared": bytes, "sealed": bytes})
    x, y, *rest = codec.sealed_from_bytes(values["sealed"]).values()
    sealed = codec.sealed_to_bytes([y._replace(peer=x.peer), x._replace(peer=y.peer), *rest])
    return replace(message, body=pack({**values, "sealed": sealed}))


def wrong_list(play, message):  # type: ignore[no-untyped-def]
    """A neighbour's good signature, of a list without the last client."""
    peer = play.terms.cohort[1]
    other = codec.members_to_bytes(0b011111, play.terms)
    client = play.clients[ME]
    signature = play.identities[peer].sign(codec.survivors_message(client._state.bond, other))
    given = unpack(message.body, {"signatures": bytes})["signatures"]
    values = {**dict(codec.signatures_from_bytes(given)), peer: signature}
    body = codec.signatures_to_bytes(list(values.items()))
    return replace(message, body=pack({"signatures": body}))


def stranger_signs(play, message):  # type: ignore[no-untyped-def]
    return edited("signatures", lambda b: codec.signatures_to_bytes([(999, bytes(64))]) + b)(
        play, message)


def plain(**changes: object) -> Fault:
    return lambda play, message: replace(message, **changes)


CLIENT_FAULTS: list[tuple[str, Fault, str]] = [
    ("shares", edited("adverts", lambda b: flip(b, 110)), "not signed by it"),
    ("shares", edited("adverts", lambda b: flip(b, 20)), "not signed by it"),
    ("shares", edited("adverts", lambda b: flip(b, 80)), "not signed by it"),
    ("shares", edited("adverts", lambda b: b[:-1]), "whole records"),
    ("shares", edited("adverts", lambda b: b + b[:ADVERT]), "one client twice"),
    ("shares", edited("adverts", lambda b: b[: 2 * ADVERT]), "only 2 neighbours advertised"),
    ("shares", planted(small_order), "agrees on no secret"),
    ("shares", planted(keys_of_another), "two adverts hold one key"),
    ("shares", planted(of_the_stranger), "999 is no neighbour"),
    ("shares", planted(of_nobody), "555 is no neighbour"),
    ("shares", planted(of_another_round), "not signed by it"),
    ("masked", edited("sealed", lambda b: b[SEALED:]), "not those of the neighbours"),
    ("masked", edited("sealed", lambda b: b + b[:SEALED]), "one client twice"),
    ("masked", edited("shared", lambda b: b"\x3e"), "not on the list of those who shared"),
    ("masked", edited("shared", lambda b: b"\x7f"), "does not fit the cohort"),
    ("masked", edited("shared", lambda b: b"\x3f\x00"), "does not fit the cohort"),
    ("masked", edited("shared", lambda b: b"\x07"), "fewer than the agreed 4"),
    ("masked", edited("shared", lambda b: b"\x1f"), "not those of the neighbours"),
    ("signature", edited("survivors", lambda b: b"\x3e"), "not on the list of those who survived"),
    ("signature", edited("survivors", lambda b: b"\x07"), "fewer than the agreed 4"),
    ("signature", edited("survivors", lambda b: b"\x7f"), "does not fit the cohort"),
    ("unmask", edited("signatures", lambda b: flip(b, 30)), "signed no such list"),
    ("unmask", edited("signatures", lambda b: b[: 2 * SIGNED]), "only 2 neighbours signed"),
    ("unmask", edited("signatures", lambda b: b + b[:SIGNED]), "one client twice"),
    ("unmask", edited("signatures", lambda b: b""), "only 0 neighbours signed"),
    ("unmask", wrong_list, "signed no such list"),
    ("unmask", stranger_signs, "999, no living neighbour"),
    *[(stage, fault, sentence) for stage in ("shares", "masked", "signature", "unmask")
      for fault, sentence in [
          (plain(round=(5, 0)), "a message of round"),
          (plain(round=(4, 0)), "a message of round"),
          (plain(sender=13), "not from the server to this client"),
          (plain(receiver=13), "not from the server to this client"),
          (plain(kind="lunch"), "of kind lunch"),
          (plain(body=b"\xc1"), "cannot be read"),
          (plain(body=pack({"other": 1})), "nothing else"),
          (plain(body=pack({})), "nothing else"),
      ]],
]


def take(client: MaskedClient, stage: str, message: Message) -> object:
    return {"shares": client.share, "masked": client.receive_shares, "signature": client.sign,
            "unmask": client.unmask}[stage](message)


@pytest.mark.parametrize(("stage", "fault", "sentence"), CLIENT_FAULTS)
def test_clients_refuse(stage: str, fault: Fault, sentence: str, table) -> None:  # type: ignore[no-untyped-def]
    play = table().until(stage)
    client, good = play.clients[ME], play.routed[ME]
    before = client.to_bytes()
    with pytest.raises(ProtocolError, match=sentence):
        take(client, stage, fault(play, good))
    assert client.to_bytes() == before
    play.check(play.finish())


@pytest.mark.parametrize("stage", ["shares", "masked", "signature", "unmask"])
def test_clients_refuse_messages_twice_early_and_late(stage: str, table) -> None:  # type: ignore[no-untyped-def]
    play = table().until(stage)
    client, good = play.clients[ME], play.routed[ME]
    fresh = play.client(ME)
    with pytest.raises(ProtocolError, match="twice, early or late"):
        take(fresh, stage, good)
    play.send(play.answer(client))
    before = client.to_bytes()
    with pytest.raises(ProtocolError, match="twice, early or late"):
        take(client, stage, good)
    with pytest.raises(ProtocolError, match="twice, early or late"):
        client.advertise()
    if stage == "masked":
        with pytest.raises(ProtocolError, match="twice, early or late"):
            client.mask(play.vectors[ME])
    assert client.to_bytes() == before
    for number in play.terms.cohort[1:]:
        play.send(play.answer(play.clients[number]))
    if stage == "unmask":
        play.check(play.server.finish())
    else:
        play.advance()
        play.check(play.finish())


def test_a_second_list_of_survivors_is_refused(table) -> None:  # type: ignore[no-untyped-def]
    """The attack on Flower's client: one peer listed alive in one request and gone in another."""
    play = table().until("unmask")
    client = play.clients[ME]
    second = Message(codec.SURVIVORS, SERVER, ME, play.terms.number, pack({"survivors": b"\x1f"}))
    with pytest.raises(ProtocolError, match="twice, early or late"):
        client.sign(second)
    shares = unpack(client.unmask(play.routed[ME]).body, UNMASKED)["shares"]
    assert len(shares) == 33 * 5
    for message in (second, play.routed[ME]):
        with pytest.raises(ProtocolError):
            (client.sign if message is second else client.unmask)(message)


def test_two_lists_for_two_halves_open_nothing(table) -> None:  # type: ignore[no-untyped-def]
    """A lying server tells half that a client lives and half that it is gone."""
    play = table(threshold=4, n=8, degree=7, min_survivors=4).until("signature")
    c = play.terms.cohort
    lists = {n: (b"\xff" if n in c[:4] else b"\x7f") for n in c[:7]}
    signed = {}
    for number, body in lists.items():
        message = Message(codec.SURVIVORS, SERVER, number, play.terms.number,
                          pack({"survivors": body}))
        answer = play.clients[number].sign(message)
        signed[number] = unpack(answer.body, {"signature": bytes})["signature"]
    for number in c[:7]:
        for told in ([n for n in c[:7] if n != number],
                     [n for n in c[:7] if n != number and lists[n] == lists[number]]):
            body = codec.signatures_to_bytes([(n, signed[n]) for n in told])
            message = Message(codec.SIGNATURES, SERVER, number, play.terms.number,
                              pack({"signatures": body}))
            with pytest.raises(ProtocolError, match="signed"):
                play.clients[number].unmask(message)


def test_survivors_beyond_those_who_shared_are_refused(table) -> None:  # type: ignore[no-untyped-def]
    play = table().until("signature", {"shares": frozenset({25})})
    client = play.clients[ME]
    with pytest.raises(ProtocolError, match="never exchanged shares"):
        client.sign(edited("survivors", lambda b: b"\x3f")(play, play.routed[ME]))
    play.check(play.finish(), frozenset({25}))


def test_survivors_without_enough_neighbours_or_in_pieces(table) -> None:  # type: ignore[no-untyped-def]
    play = table(n=24, degree=4, threshold=2, min_survivors=2).until("signature")
    graph, place = play.terms.graph, 5
    client = play.clients[play.terms.cohort[place]]
    order, at = graph.order.tolist(), int(graph.place_on_circle[place])

    def told(on_circle: list[int]) -> Message:
        members = sum(1 << order[(at + o) % 24] for o in on_circle)
        body = pack({"survivors": codec.members_to_bytes(members, play.terms)})
        return replace(play.routed[client.number], body=body)

    with pytest.raises(ProtocolError, match="only 1 neighbours survived"):
        client.sign(told([0, 1, 9, 10, 11]))
    with pytest.raises(ProtocolError, match="in pieces"):
        client.sign(told([0, 1, 2, 9, 10, 11]))
    play.check(play.finish())


def test_terms_below_what_was_agreed(table) -> None:  # type: ignore[no-untyped-def]
    play = table()
    floors = [(Floor(4, 4, 5), "threshold 3 is below"),
              (Floor(3, 5, 5), "min_survivors 4 is below"),
              (Floor(3, 4, 4), "degree 5 is above")]
    for floor, sentence in floors:
        with pytest.raises(ProtocolError, match=sentence):
            MaskedClient(play.identities[ME], play.terms, play.directory, floor)
    with pytest.raises(ProtocolError, match="not of the cohort"):
        MaskedClient(play.stranger, play.terms, play.directory, play.floor)


@pytest.mark.parametrize(
    "changes",
    [{"cohort": (1, 2)}, {"cohort": (1, 1, 2)}, {"cohort": (3, 2, 1)}, {"cohort": (-1, 2, 3)},
     {"degree": 3}, {"degree": 8}, {"degree": 0}, {"threshold": 1}, {"threshold": 6},
     {"min_survivors": 1}, {"min_survivors": 9}, {"dims": 0}, {"run": b""}, {"round": -1},
     {"plan_hash": b""}, {"beacon": b"short"}, {"attempt": 8}],
)
def test_impossible_terms(changes, table) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProtocolError):
        table().other_terms(**changes)


def test_terms_travel(table) -> None:  # type: ignore[no-untyped-def]
    terms = table().terms
    assert RoundTerms.from_bytes(terms.to_bytes()) == terms
    early = RoundTerms.from_bytes(replace(terms, plan_hash=None).to_bytes())
    assert early.plan_hash is None and early.setup_digest == terms.setup_digest
    assert early.with_plan(b"the plan's hash").digest == terms.digest
    before = RoundTerms.from_bytes(replace(terms, beacon=None).to_bytes())
    assert before.beacon is None and before.setup_digest == terms.setup_digest
    with pytest.raises(ProtocolError, match="lack the beacon"):
        before.graph.neighbours(0)
    assert before.with_beacon(bytes(32)).digest == terms.digest
    with pytest.raises(ProtocolError, match="another beacon"):
        terms.with_beacon(bytes(31) + b"1")
    with pytest.raises(ProtocolError):
        RoundTerms.from_bytes(terms.to_bytes()[:-1])


@pytest.mark.parametrize("change", [
    {"run": b"x"}, {"round": 5}, {"attempt": 2}, {"dims": 17}, {"threshold": 4},
    {"min_survivors": 5}, {"cohort": (10, 13, 16, 19, 22, 26)},
])
def test_every_term_enters_both_digests(change, table) -> None:  # type: ignore[no-untyped-def]
    terms = table().terms
    other = replace(terms, **change)
    assert other.setup_digest != terms.setup_digest and other.digest != terms.digest
    plan = replace(terms, plan_hash=b"other")
    assert plan.setup_digest == terms.setup_digest and plan.digest != terms.digest
    drawn = replace(terms, beacon=bytes(31) + b"1")
    assert drawn.setup_digest == terms.setup_digest and drawn.digest != terms.digest
    assert drawn.graph.order.tolist() != terms.graph.order.tolist()


@pytest.mark.parametrize("change", [
    {"cohort": (10, 13, 16, 19, 22, 26)}, {"threshold": 4}, {"min_survivors": 5}, {"dims": 17},
])
def test_a_client_told_other_terms_is_refused_by_all(change, table) -> None:  # type: ignore[no-untyped-def]
    """Its advert is signed over its own terms: the server refuses it, and so does any client."""
    play = table()
    odd = MaskedClient(play.identities[ME], play.other_terms(**change), play.directory, play.floor)
    advert = odd.advertise()
    with pytest.raises(ProtocolError, match="not signed by it"):
        play.server.receive(advert)
    play.clients.pop(ME)
    play.until("shares")
    record = unpack(advert.body, {"advert": bytes})["advert"]
    number = play.terms.cohort[1]
    with pytest.raises(ProtocolError, match="client 10 is not signed by it"):
        play.clients[number].share(edited("adverts", lambda b: b + record)(
            play, play.routed[number]))
    play.check(play.finish(), frozenset({ME}))


def test_a_client_given_another_model_is_refused(table) -> None:  # type: ignore[no-untyped-def]
    play = table()
    play.clients[ME] = play.client(ME, play.other_terms(plan_hash=b"a plan made for one"))
    play.until("masked")
    with pytest.raises(ProtocolError, match="another plan"):
        play.server.receive(play.answer(play.clients[ME]))
    for number in play.terms.cohort[1:]:
        play.send(play.answer(play.clients[number]))
    play.advance()
    play.check(play.finish(), frozenset({ME}))


def test_a_server_that_gives_one_client_another_model_gains_nothing(table) -> None:  # type: ignore[no-untyped-def]
    """It takes the vector all the same. Neighbours refuse the client's signature; without it the
    sum opens to noise, for the masks of this client cancel nobody's."""
    play = table()
    play.clients[ME] = play.client(ME, play.other_terms(plan_hash=b"a plan made for one"))
    play.until("masked")
    masked = play.answer(play.clients[ME])
    play.server.receive(replace(masked, body=play.server._bond + masked.body[32:]))
    for number in play.terms.cohort[1:]:
        play.send(play.answer(play.clients[number]))
    play.advance()
    signature = play.clients[ME].sign(play.routed[ME])
    with pytest.raises(ProtocolError, match="signed no such survivors"):
        play.server.receive(signature)
    play.clients.pop(ME)
    play.routed.pop(ME)
    play.until("unmask")
    signed = unpack(signature.body, {"signature": bytes})["signature"]
    forged = codec.signatures_to_bytes([(ME, signed)])
    number = play.terms.cohort[1]
    with pytest.raises(ProtocolError, match="client 10 signed no such list"):
        play.clients[number].unmask(edited("signatures", lambda b: b + forged)(
            play, play.routed[number]))
    opened = play.finish()
    everyone = play.sum_of(opened.survivors)
    without = everyone - play.vectors[ME]
    # 16 numbers of 32 bits: a chance hit of any one is below 1e-8.
    assert not (opened.total == everyone).any() and not (opened.total == without).any()


def one_less(play, message):  # type: ignore[no-untyped-def]
    return replace(message, body=message.body[:-4])


def foreign_bond(play, message):  # type: ignore[no-untyped-def]
    return replace(message, body=flip(message.body, 0))


def others_advert(play, message):  # type: ignore[no-untyped-def]
    return replace(message, body=play.client(13).advertise().body)


def self_made(play, message):  # type: ignore[no-untyped-def]
    record = signed_advert(play, ME, play.stranger)
    return replace(message, body=pack({"advert": record}))


SERVER_FAULTS: list[tuple[str, Fault, str]] = [
    ("advert", edited("advert", lambda b: flip(b, 150)), "not signed by it"),
    ("advert", edited("advert", lambda b: b[1:]), "whole records"),
    ("advert", edited("advert", lambda b: b""), "its own keys and no others"),
    ("advert", others_advert, "its own keys and no others"),
    ("advert", self_made, "not signed by it"),
    ("shares", edited("sealed", lambda b: b[SEALED:]), "seal a share to each neighbour"),
    ("shares", edited("sealed", lambda b: b[5:]), "whole records"),
    ("shares", edited("sealed", lambda b: b + b[:SEALED]), "one client twice"),
    ("masked", one_less, "16 numbers of 4 bytes"),
    ("masked", foreign_bond, "other terms, another plan"),
    ("signature", edited("signature", lambda b: flip(b, 3)), "signed no such survivors"),
    ("signature", edited("signature", lambda b: b[3:]), "signed no such survivors"),
    ("unmask", edited("shares", lambda b: b[:-33]), "a share of client .* that it was not dealt"),
    ("unmask", edited("shares", lambda b: b + b[-33:]), "one share a peer"),
    ("unmask", edited("shares", lambda b: flip(b, 40)), "a share of client .* that it was not"),
    ("unmask", edited("without", lambda b: b + b"\0"), "does not fit the degree"),
    ("unmask", edited("without", lambda b: b"\x20"), "does not fit the degree"),
    *[(stage, fault, sentence) for stage in ("advert", "shares", "masked", "signature", "unmask")
      for fault, sentence in [
          (plain(round=(5, 0)), "came to the server of"),
          (plain(round=(4, 0)), "came to the server of"),
          (plain(sender=999), "not of this cohort"),
          (plain(sender=SERVER), "not of this cohort"),
          (plain(receiver=13), "came to the server of"),
          (plain(kind="lunch"), "no message of kind"),
          (plain(body=b"\xc1"), "numbers of 4 bytes" if stage == "masked" else "cannot be read"),
      ]],
]


@pytest.mark.parametrize(("stage", "fault", "sentence"), SERVER_FAULTS)
def test_servers_refuse(stage: str, fault: Fault, sentence: str, table) -> None:  # type: ignore[no-untyped-def]
    play = table().until(stage)
    good = play.answer(play.clients[ME])
    with pytest.raises(ProtocolError, match=sentence):
        play.server.receive(fault(play, good))
    play.send(good)
    with pytest.raises(ProtocolError, match="twice"):
        play.server.receive(good)
    for number in play.terms.cohort[1:]:
        play.send(play.answer(play.clients[number]))
    if stage == "unmask":
        play.check(play.server.finish())
    else:
        play.advance()
        with pytest.raises(ProtocolError, match="late, early or replayed"):
            play.server.receive(good)
        play.check(play.finish())


def test_who_dropped_out_may_not_come_back(table) -> None:  # type: ignore[no-untyped-def]
    play = table().until("shares", {"advert": frozenset({ME})})
    with pytest.raises(ProtocolError, match="dropped out at an earlier stage"):
        play.server.receive(Message(codec.SHARES, ME, SERVER, play.terms.number,
                                    pack({"sealed": b""})))
    with pytest.raises(ProtocolError, match="cannot end masked"):
        play.server.announce_survivors()
    play.check(play.finish(), frozenset({ME}))


@pytest.mark.parametrize("fault", [
    edited("sealed", lambda b: flip(b, 60)), edited("sealed", lambda b: flip(b, 9)),
    edited("sealed", lambda b: flip(b, 110)), edited("sealed", lambda b: flip(b, 150)),
    another_receiver, swapped_senders,
], ids=["share", "nonce", "hash of the seed's", "hash of the key's", "receiver", "senders"])
def test_a_share_that_does_not_fit_is_left_out(fault: Fault, table) -> None:  # type: ignore[no-untyped-def]
    """Whoever got it goes on without it, tells so, and is not blamed: others keep enough."""
    play = table(threshold=3).until("masked", {"shares": frozenset({25})})
    play.routed[ME] = fault(play, play.routed[ME])
    opened = play.finish()
    play.check(opened, frozenset({25}))
    last = [m for m in play.transcript.messages if m.kind == codec.UNMASK and m.sender == ME]
    values = unpack(last[0].body, UNMASKED)
    lacking = codec.slots_from_bytes(values["without"], play.terms).bit_count()
    assert lacking in (1, 2) or fault is another_receiver
    assert len(values["shares"]) == 33 * (4 - lacking)


@pytest.mark.parametrize("victim", [13, 25])
def test_a_keeper_that_reveals_another_share_spoils_nothing(victim: int, table) -> None:  # type: ignore[no-untyped-def]
    """Of a client that lives and of one that is gone: it is named, and the others are enough."""
    play = table(threshold=3).until("unmask", {"masked": frozenset({25})})
    keeper, place = play.terms.cohort[3], play.terms.position[victim]
    near = play.terms.graph.neighbours(play.terms.position[keeper])
    for number in play.asked():
        message = play.answer(play.clients[number])
        if number == keeper:
            at = 33 * near.index(place) + 30
            wrong = edited("shares", partial(flip, at=at))(play, message)
            with pytest.raises(ProtocolError, match=f"client {keeper} reveals .* client {victim}"):
                play.server.receive(wrong)
        else:
            play.send(message)
    play.check(play.server.finish(), frozenset({25}))


def test_attendance() -> None:
    terms = RoundTerms(b"run", 2, 0, (1, 2, 3), 1, 2, 2, 2, b"m", None)
    seen = Attendance(b"run").joins(terms)
    assert Attendance.from_bytes(seen.to_bytes()) == seen
    with pytest.raises(ProtocolError, match="a replay"):
        seen.joins(terms)
    with pytest.raises(ProtocolError, match="a replay"):
        seen.joins(replace(terms, round=1, attempt=5))
    with pytest.raises(ProtocolError, match="another run"):
        seen.joins(replace(terms, run=b"x"))
    assert seen.joins(replace(terms, attempt=1)).last == (2, 1)
    with pytest.raises(ProtocolError, match="opens only once"):
        seen.signs(terms).joins(replace(terms, attempt=1))
    assert seen.signs(terms).joins(replace(terms, round=3)).last == (3, 0)


def test_vectors_of_another_kind(table) -> None:  # type: ignore[no-untyped-def]
    play = table().until("masked")
    client = play.clients[ME]
    client.receive_shares(play.routed[ME])
    for wrong in (np.zeros(16, dtype=np.int32), np.zeros(15, dtype=np.uint32),
                  np.full(16, np.nan), np.zeros((16, 1), dtype=np.uint32)):
        with pytest.raises(ValueError, match="must be uint32"):
            client.mask(wrong)
    play.send(client.mask(play.vectors[ME]))
    for number in play.terms.cohort[1:]:
        play.send(play.answer(play.clients[number]))
    play.advance()
    play.check(play.finish())


def test_contexts_hold_all_that_they_bind(table) -> None:  # type: ignore[no-untyped-def]
    """Terms, both clients and their order, and the set that shared: none may be left out."""
    terms = table().terms
    plan, attempt = replace(terms, plan_hash=b"other"), replace(terms, attempt=2)
    bonds = {codec.round_bond(t, s) for t in (terms, plan, attempt) for s in (0b111111, 0b11111)}
    assert len(bonds) == 6
    pairs = [(10, 13), (13, 10), (10, 16)]
    contexts = [f(t, a, b) for f in (codec.channel_info, codec.share_context)
                for t in (terms, attempt) for a, b in pairs]
    contexts += [codec.mask_info(bond, a, b) for bond in bonds for a, b in pairs]
    contexts += [codec.survivors_message(bond, body) for bond in bonds for body in (b"a", b"b")]
    assert len(set(contexts)) == 12 + 18 + 12
    seeds = [(t, c, s) for t in (terms, attempt) for c in (10, 13) for s in (bytes(32), b"s" * 32)]
    assert len({codec.commitment(*s) for s in seeds}) == 8


def test_a_client_told_of_another_set_is_refused(table) -> None:  # type: ignore[no-untyped-def]
    """A lying server leaves a client that is no neighbour out of one client's set."""
    play = table(n=10, degree=4, threshold=2, min_survivors=3).until("masked")
    near = play.terms.graph.neighbours(0)
    far = next(p for p in range(1, 10) if p not in near)
    lie = edited("shared", lambda b: codec.members_to_bytes(0b1111111111 & ~(1 << far), play.terms))
    play.routed[ME] = lie(play, play.routed[ME])
    with pytest.raises(ProtocolError, match="another set of clients"):
        play.server.receive(play.answer(play.clients[ME]))
    for number in play.terms.cohort[1:]:
        play.send(play.answer(play.clients[number]))
    play.advance()
    play.check(play.finish(), frozenset({ME}))
