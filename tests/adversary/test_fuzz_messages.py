"""Ten thousand bent messages of every kind and stage, against the parties that read them.

Nothing but a ProtocolError leaves a party, a refused message changes nothing, and the round ends in
the sum of those who kept to the form.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from experiments.deployment import app
from experiments.deployment.parties import Party
from privacy import Dense, Everyone, Release, SystemSource, Touched
from privacy.aggregation.deployed import PlainSide
from privacy.aggregation.encrypted import KeyHolder, Terms
from privacy.aggregation.encrypted.bodies import TERMS
from privacy.aggregation.masked import Floor, MaskedClient, MaskedServer, RoundTerms, codec
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message, unpack
from privacy.aggregator import Task
from privacy.crypto.keys import Directory, Identity
from privacy.errors import ProtocolError, RoundAborted
from privacy.uploads import Part
from privfedmm.assemble import kinds_of
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.letters import ANSWERS
from privfedmm.federation.mailbox import Mailbox, RoundLog
from tests.adversary.mutate import HOSTILE, mutated
from tests.adversary.test_lying_node import MASKED, Carried
from tests.deployments import exact, released
from tests.federation.conftest import Loop, Settle
from tests.privacy.aggregation.encrypted.conftest import World

FEW = 40  # of each kind and stage, in the default suite
MANY = pytest.param(10_000, marks=pytest.mark.slow)
COUNTS = pytest.mark.parametrize("count", [FEW, MANY])


def bent(rng: random.Random, honest: Message) -> Message | None:
    """A message with another body or header; None where there is no such message."""
    changes: dict[str, Any] = {}
    if rng.random() < 0.7:
        changes["body"] = mutated(rng, honest.body)
    if rng.random() < 0.5:
        name = rng.choice(["kind", "sender", "receiver", "round", "body"])
        changes[name] = rng.choice([*HOSTILE, (0, 0), (0, 1), (0,), ("0", 1), (-1, 0), 1, 2, 3])
    try:
        message = replace(honest, **changes)
    except ProtocolError:
        return None
    return None if message == honest else message


def bends(count: int, honest: Message, seed: int) -> Iterator[Message]:
    rng = random.Random(seed)
    found = (bent(rng, honest) for _ in range(count))
    return (message for message in found if message is not None)


NUMBERS = (3, 5, 8, 13, 21)
LIAR = NUMBERS[0]


class Masks:
    """A masked round of five clients, stage by stage."""

    def __init__(self) -> None:
        identities = [Identity.generate(n) for n in NUMBERS]
        self.directory = Directory.of(identities)
        self.terms = RoundTerms(b"fuzz", 0, 0, NUMBERS, 6, 4, 3, 3, b"plan", bytes(32))
        self.floor = Floor(3, 3, 4)
        self.clients = {
            i.number: MaskedClient(i, self.terms, self.directory, self.floor) for i in identities}
        self.identities = {i.number: i for i in identities}
        self.server = MaskedServer(self.terms, self.directory)
        self.vectors = {n: np.full(6, n, dtype=np.uint32) for n in NUMBERS}

    def stages(self) -> list[tuple[Callable[[int, dict[int, Message]], Message],
                                   Callable[[], list[Message]]]]:
        return [
            (lambda n, got: self.clients[n].advertise(), self.server.route_adverts),
            (lambda n, got: self.clients[n].share(got[n]), self.server.route_shares),
            (lambda n, got: self.masked(self.clients[n], got[n]), self.server.announce_survivors),
            (lambda n, got: self.clients[n].sign(got[n]), self.server.route_signatures),
            (lambda n, got: self.clients[n].unmask(got[n]), list)]

    def masked(self, client: MaskedClient, message: Message) -> Message:
        client.receive_shares(message)
        return client.mask(self.vectors[client.number])

    def again(self, number: int) -> MaskedClient:
        """A client as its disk has it, to be lied to."""
        return MaskedClient.from_bytes(self.clients[number].to_bytes(), self.identities[number],
                                       self.directory, self.floor)


@COUNTS
@pytest.mark.parametrize("stage", range(5), ids=["advert", "share", "mask", "sign", "unmask"])
def test_a_masked_server_goes_on(stage: int, count: int) -> None:
    """The liar sends nothing else from that stage on, and is a dropout, or in the sum already."""
    play, last = Masks(), 0
    got: dict[int, Message] = {}
    for at, (answer, route) in enumerate(play.stages()):
        for number in NUMBERS:
            if number == LIAR and at >= stage:
                if at > stage:
                    continue
                honest = answer(number, got)
                for message in bends(count, honest, stage):
                    # What a client puts into its own part, nobody can tell: it is not sent here.
                    own = message.sender == LIAR and message.kind == honest.kind
                    if own and len(message.body) == len(honest.body) and (
                            honest.kind in (codec.SHARES, codec.MASKED, codec.UNMASK)):
                        continue
                    with pytest.raises(ProtocolError):
                        play.server.receive(message)
                    last += 1
                continue
            play.server.receive(answer(number, got))
        got = {m.receiver: m for m in route()}
    assert last > count // 10
    summed = play.server.finish()
    alive = [n for n in NUMBERS if n != LIAR or stage > 2]
    assert summed.survivors.tolist() == alive
    np.testing.assert_array_equal(summed.total, np.full(6, sum(alive)))


def told_anew(play: Masks, honest: Message, message: Message) -> dict[str, bytes] | None:
    """The body of a message that says what no client can know to be false; None where it could.

    Sealed shares that do not open may be their dealer's doing as well as the server's. Were they
    refused, each dealer could put its neighbours out; so they alone are left out, and the rest
    stands. And who dropped out the server alone says: a client signs one list, and opens nothing
    unless its neighbours signed that same one.
    """
    names = {codec.SEALED: ("shared", "sealed"), codec.SURVIVORS: ("survivors",)}.get(honest.kind)
    if names is None or replace(message, body=honest.body) != honest:
        return None
    true = unpack(honest.body, dict.fromkeys(names, bytes))
    try:
        told = unpack(message.body, dict.fromkeys(names, bytes))
        if honest.kind == codec.SEALED:
            of, said = (codec.sealed_from_bytes(body["sealed"]).keys() for body in (true, told))
            return told if told["shared"] == true["shared"] and of == said else None
        alive = codec.members_from_bytes(told["survivors"], play.terms)
    except ProtocolError:
        return None
    # Itself and as many neighbours as the threshold: the only other list of five that it accepts.
    own = 1 << play.terms.position[LIAR]
    return told if alive & own and alive.bit_count() == play.terms.threshold + 1 else None


@COUNTS
def test_a_masked_client_is_as_before_after_every_refusal(count: int) -> None:
    """And what it cannot refuse changes no byte of its mask, and shows nothing more."""
    play, misled = Masks(), list[MaskedClient]()
    got: dict[int, Message] = {}
    for at, (answer, route) in enumerate(play.stages()):
        if at:
            before, honest, unopened = play.clients[LIAR].to_bytes(), got[LIAR], 0
            one = play.again(LIAR)
            step = [None, one.share, lambda m, o=one: play.masked(o, m), one.sign, one.unmask][at]
            assert step is not None
            for message in bends(count // 4, honest, at):
                told = told_anew(play, honest, message)
                if told is None:
                    with pytest.raises(ProtocolError):
                        step(message)
                    assert one.to_bytes() == before
                elif honest.kind == codec.SEALED:
                    assert_unopened_alone(play, honest, message, told["sealed"])
                    unopened += 1
                else:
                    misled.append(play.again(LIAR))
                    misled[-1].sign(message)
                    with pytest.raises(ProtocolError):
                        misled[-1].sign(honest)
            assert honest.kind != codec.SEALED or unopened >= count // 400
            for other in misled if honest.kind == codec.SIGNATURES else ():
                with pytest.raises(ProtocolError, match="signed no such list"):
                    other.unmask(honest)
        for number in NUMBERS:
            play.server.receive(answer(number, got))
        got = {m.receiver: m for m in route()}
    assert play.server.finish().total.tolist() == [sum(NUMBERS)] * 6


def assert_unopened_alone(play: Masks, honest: Message, message: Message, sealed: bytes) -> None:
    """The client keeps every share but the altered ones, and sends the very same vector."""
    one, other = play.again(LIAR), play.again(LIAR)
    assert play.masked(one, message) == play.masked(other, honest)
    fields = unpack(honest.body, {"shared": bytes, "sealed": bytes})
    true = codec.sealed_from_bytes(fields["sealed"])
    told = codec.sealed_from_bytes(sealed)
    assert one._state.held == {slot: pair for slot, pair in other._state.held.items()
                               if true[one._peers[slot]] == told[one._peers[slot]]}


@COUNTS
def test_an_encrypted_server_and_the_key_holder_go_on(count: int) -> None:
    world = World("bfv")
    terms = world.terms()
    server, liar = world.server(terms), world.upload(0, terms)
    for message in bends(count, liar, 1):
        with pytest.raises(ProtocolError):
            server.receive(message)
    # The same under the liar's own signature: its ciphertext is read then.
    rng, honest = random.Random(2), world.read(liar)["ciphertexts"]
    for _ in range(count // 20):
        with pytest.raises(ProtocolError):
            server.receive(world.signed_as(terms, 0, honest[:40] + rng.randbytes(len(honest) - 40)))
            raise ProtocolError("a ciphertext of noise is a ciphertext")
        server = world.server(terms)
    for client in (1, 2, 3):
        server.receive(world.upload(client, terms))
    told = Message(TERMS, SERVER, KEY_HOLDER, terms.at, terms.to_bytes())
    for message in bends(count, told, 3):
        with suppress(ProtocolError):
            world.holder.agree(message)
            # Another cohort or bound than these can be agreed to; another run or key cannot.
            found = Terms.from_bytes(message.body)
            assert found.run == terms.run and found.context == terms.context
            world = replace_holder(world)
    total = server.close()
    for message in bends(count, total, 4):
        # What is decrypted uses the round up, a total of noise too: the next asks another holder.
        replace_holder(world).agree(terms)
        with suppress(ProtocolError, RoundAborted):
            told = world.holder.decrypt(message)
            assert told.kind == "he-result"
    replace_holder(world).agree(terms)
    result = world.holder.decrypt(total)
    for message in bends(count, result, 5):
        # Other bytes may say the same; what the key holder signed is all that is ever taken.
        with suppress(ProtocolError):
            assert server.finish(message).totals.sum() == world.vectors[1:4].sum()
    np.testing.assert_array_equal(server.finish(result).totals, world.vectors[1:4].sum(0))


def replace_holder(world: World) -> World:
    """The key holder as it was before it agreed to anything."""
    held = world.holder
    world.holder = KeyHolder("run", world.parameters, world.holder_identity, world.directory, 2,
                             None, world.saved.append, (held._secret, held.context))
    return world


@COUNTS
def test_a_plain_sum_goes_on(count: int) -> None:
    releases = (Release("a", (4, 2)), Release("b", (3,)))
    task = Task(Everyone().draw(6, 0, SystemSource()), releases, 2)
    side, ids = PlainSide(task), np.arange(6)
    touched = Touched(torch.tensor([[0, 2]] * 3), torch.ones(3, 2, 2), torch.ones(3, 2), 4)
    honest: dict[str, Part] = {"a": touched, "b": Dense(torch.ones(3, 3))}
    kinds = (Dense, Touched)
    form, rng, taken = ANSWERS["upload"][0]["plain"], random.Random(6), 0
    body = encode([(ids[:3], honest)])
    for _ in range(count):
        sent = mutated(rng, body)
        try:
            blocks = decode(sent, kinds, 4096)
            form.check(blocks, "plain")
        except ProtocolError:
            continue
        other = PlainSide(task)
        for block in blocks:
            other.uploads(*block)
        taken += not other.refusals
        with suppress(RoundAborted):
            assert all(x.isfinite().all() for x in other.opened().sums.values())
    side.uploads(ids[3:], honest)
    assert float(side.opened().sums["b"].sum()) == 9.0


Bodies = dict[tuple[str, int], bytes]


def kept(loop: Loop) -> tuple[Bodies, Bodies]:
    """The first honest request and answer of every kind, once the loop has played."""
    asked: Bodies = {}
    said: Bodies = {}

    def before(kind: str, node: int, body: bytes) -> bytes:
        return asked.setdefault((kind, node), body) and body

    def after(kind: str, node: int, body: bytes) -> bytes:
        return said.setdefault((kind, node), body) and body

    loop.before, loop.after = before, after
    return asked, said


# There are sixteen letters and answers: in all there are more than ten thousand again.
@pytest.mark.parametrize("count", [20, pytest.param(700, marks=pytest.mark.slow)])
def test_the_server_and_the_nodes_of_a_federation_go_on(settled: Settle, count: int) -> None:
    config, out, loop = settled({**MASKED, "method": "group_statistics",
                                 "group_statistics": "encrypted", "statistics.groups": 3})
    asked, said = kept(loop)
    app.play(loop, out, out / "deploy")
    kinds, rng = kinds_of(config), random.Random(7)
    mailbox = Mailbox(Carried({}), kinds, 36)
    mailbox.caps = replace(mailbox.caps, masked=2**12, encrypted=2**20, holder=True)
    mailbox.settle({0: np.arange(12), 3: np.arange(12, 36)})
    mailbox.log.append(RoundLog(0))
    for (kind, node), body in said.items():
        if node in (0, 3):
            for _ in range(count):
                mailbox._transport = Carried({node: mutated(rng, body)})
                for name in ("shares", "masked", "encrypted", "adverts", "signatures", "revealed"):
                    mailbox.messages(mailbox.exchange(kind, {node: {}}), name)
                mailbox.log[0].stayed_out.clear()
    party = Party.read(loop.folders[0])
    node_, holder = party.node(True), Party.read(loop.folders[3]).holder()
    for (kind, node), body in asked.items():
        if node in (0, 3):
            one = node_ if node == 0 else holder
            for _ in range(count):
                answer = decode(one.handle(kind, mutated(rng, body)), kinds)
                assert isinstance(answer, dict)


@pytest.mark.parametrize("seed", [8, *(pytest.param(n, marks=pytest.mark.slow) for n in range(6))])
def test_a_run_goes_on_among_bent_answers(settled: Settle, seed: int) -> None:
    """One node bends every answer from its upload on, or from its signatures on.

    Sealed and revealed shares are not bent: those are lies of content, which docs/deployment.md
    says are not prevented. Nor are bits of a masked vector, which nobody can tell.
    """
    rng, late = random.Random(seed), bool(seed % 2)

    def after(kind: str, node: int, body: bytes) -> bytes:
        if node or kind not in ("upload", "sign") or (late and kind == "upload"):
            return body
        return mutated(rng, body) if kind == "sign" else body[:rng.randrange(len(body))]

    config, out, loop = settled(MASKED)
    loop.after = after
    app.play(loop, out, out / "deploy")
    alive = np.arange(0 if late else 12, 36)
    assert torch.equal(released(out)["item_counts"], exact(config, alive)["item_counts"])
