"""A server killed while sums open finishes those very sums, or nothing: never a second one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.deployment import app
from experiments.deployment.journal import FileJournal
from experiments.deployment.parties import Party
from privacy import SimulationSource
from privacy.aggregation.masked.server_state import ServerState
from privacy.aggregation.messages import Message, pack, unpack
from privfedmm.assemble import kinds_of
from privfedmm.base.errors import ABORTED, PRIVACY_VIOLATION, UserError
from privfedmm.config import RunConfig, resolve
from privfedmm.federation import transport
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.openings import Underway
from privfedmm.privacy_plan import stack as privacy_stack
from privfedmm.privacy_plan.keeping import FileVault
from privfedmm.runs import run as runs
from tests.deployments import NODES, exact, released
from tests.federation.conftest import settle
from tests.federation.outcomes import Killed, Looped, entries, everybody

HOLDER = NODES
Settle = Callable[[dict[str, Any]], tuple[RunConfig, Path, Looped]]
ONE: dict[str, Any] = {
    "dataset": "planted:36", "seed": 5, "baselines": ["popularity"], "aggregation": "masked",
    "dp.epsilon": 2.0, "dp.trust": "distributed", "dp.noise": "simulation", "secure.dropout": 0.4,
    "secure.server": "semi_honest",
    "method": "popularity"}
TWICE = {**ONE, "method": "group_statistics", "statistics.groups": 3, "mix.on": False}
# Updates under masks and statistics under a key, in one round; no budget.
BOTH: dict[str, Any] = {
    "dataset": "planted:36", "seed": 5, "baselines": ["popularity"], "aggregation": "masked",
    "group_statistics": "encrypted", "secure.dropout": 0.4, "secure.server": "semi_honest",
    "method": "gfmfr", "algorithm.opening.on": False, "rounds": 1}
OPENING = (transport.SIGN, transport.UNMASK)
KINDS = tuple({kind for flags in (TWICE, BOTH) for kind in kinds_of(resolve(None, flags))})


@dataclass(frozen=True)
class Point:
    """Where the server dies: a message to a node, before it leaves or once it is answered."""

    kind: str
    node: int
    answered: bool


@dataclass
class Trial:
    """A run whose server is killed and started again, and what clients were asked meanwhile.

    away: nodes that no message reaches; away_for: by kind of message. asked, answered: by kind,
    round and client, every distinct message of an opening.
    """

    config: RunConfig
    out: Path
    loop: Looped
    away: set[int] = field(default_factory=set)
    away_for: dict[str, set[int]] = field(default_factory=dict)
    point: Point | None = None
    asked: dict[tuple[str, int], set[bytes]] = field(default_factory=dict)
    answered: dict[tuple[str, int], set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loop.before, self.loop.after = self._before, self._after

    @property
    def root(self) -> Path:
        return self.out / "deploy"

    @property
    def journal(self) -> FileJournal:
        return FileJournal(self.root)

    def play(self) -> None:
        self.loop.log = []
        app.play(self.loop, self.out, self.root)

    def killed(self, point: Point) -> Trial:
        self.point = point
        with pytest.raises(Killed):
            self.play()
        self.point = None
        return self

    def aborted(self, match: str) -> None:
        with pytest.raises(UserError, match=match) as caught:
            self.play()
        assert caught.value.code == ABORTED

    def nothing_left_open(self) -> bool:
        last = self.journal.get()
        return last is not None and last == Underway(0, 0, parts=last.parts) and (
            last.parts.keys() == {f"shard-{node}" for node in range(NODES)})

    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.loop.log}

    def refusals(self) -> str:
        return (self.root / app.EXCHANGES).read_text(encoding="utf-8")

    def _before(self, kind: str, node: int, body: bytes) -> bytes | None:
        if self.point == Point(kind, node, False):
            raise Killed
        if node in self.away or node in self.away_for.get(kind, ()):
            return None
        if kind in OPENING:
            _note(self.asked, body)
        return body

    def _after(self, kind: str, node: int, body: bytes) -> bytes:
        if self.point == Point(kind, node, True):
            raise Killed
        if kind in OPENING:
            _note(self.answered, body)
        return body


def _note(seen: dict[tuple[str, int], set[bytes]], body: bytes) -> None:
    """By kind and client, the distinct messages of a round's opening."""
    fields = decode(body, KINDS)
    for name in ("survivors", "signatures", "revealed", "total", "result"):
        part = fields.get(name, [])
        for message in part if isinstance(part, list) else [part]:
            client = message.sender if message.sender >= 0 else message.receiver
            seen.setdefault((f"{message.kind} {message.round}", client), set()).add(
                encode(message))


@pytest.fixture
def trial(settled: Settle) -> Callable[[dict[str, Any]], Trial]:
    return lambda flags: Trial(*settled(flags))


@pytest.fixture(scope="module")
def seeded() -> Iterator[None]:
    """Rounding to the grid from named streams without a budget too, so that sums compare."""
    given = privacy_stack.noise_source
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privacy_stack, "noise_source", lambda config: (
            given(config) if config.dp else SimulationSource(config.seed)))
        yield


@pytest.fixture(scope="module")
def undisturbed(
    seeded: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict[str, Any]], dict[str, torch.Tensor]]:
    """What the nodes release when nobody dies: floats trained in other blocks would differ."""
    known: dict[str, dict[str, torch.Tensor]] = {}

    def play(flags: dict[str, Any]) -> dict[str, torch.Tensor]:
        if str(flags) not in known:
            _, out, loop = settle(flags, tmp_path_factory.mktemp("undisturbed") / "deployed")
            app.play(loop, out, out / "deploy")
            known[str(flags)] = released(out)
        return known[str(flags)]

    return play


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in wanted)


Trials = Callable[[dict[str, Any]], Trial]
Sums = Callable[[dict[str, Any]], dict[str, torch.Tensor]]
# Before any answer, after some, and after all of them.
MASKED = [Point(kind, node, answered) for kind in OPENING
          for node, answered in ((0, False), (NODES - 1, False), (NODES - 1, True))]
# The key holder is asked last of all, beside the signatures.
KEYED = [Point(transport.SIGN, HOLDER, False), Point(transport.SIGN, HOLDER, True),
         Point(transport.UNMASK, 1, True)]


# The default suite has the first and the last moment of masks, and the key holder's answer.
@pytest.mark.parametrize("flags, point", [
    pytest.param(flags, point, marks=[] if point in (MASKED[0], MASKED[-1], KEYED[1]) else (
        pytest.mark.slow))
    for flags, points in ((ONE, MASKED), (BOTH, KEYED)) for point in points])
def test_killed_while_sums_open_the_same_sums_open(
    trial: Trials, undisturbed: Sums, flags: dict[str, Any], point: Point
) -> None:
    one = trial(flags).killed(point)
    saved = list(one.root.glob("opening-*"))
    assert len(saved) == 1 and saved[0].stat().st_mode & 0o077 == 0
    assert entries(one.out) == []
    one.play()
    assert same(released(one.out), undisturbed(flags))
    assert {status for _, status in entries(one.out)} == {"released"}
    assert len(entries(one.out)) == len({round_ for round_, _ in entries(one.out)}) == 1
    # Nobody trains again, nobody is asked anything else, and nobody answers anything else.
    assert transport.UPLOAD not in one.kinds()
    assert (transport.SIGN in one.kinds()) == (point.kind == transport.SIGN)
    assert all(len(messages) == 1 for messages in one.asked.values())
    assert all(len(messages) == 1 for messages in one.answered.values())
    assert not list(one.root.glob("opening-*"))
    assert one.nothing_left_open()


@pytest.mark.slow
def test_the_rounds_after_a_resumed_one_are_the_runs(trial: Trials, tmp_path: Path) -> None:
    """Killed in each of its two openings, the run ends with the simulator's numbers."""
    one = trial({**TWICE, "group_statistics": "encrypted"})
    ours = tmp_path / "simulated"
    runs.start(one.config, ours, lambda row: None)
    one.killed(Point(transport.UNMASK, 1, True)).killed(Point(transport.SIGN, HOLDER, True)).play()
    assert entries(one.out) == [(0, "released"), (1, "released")]
    assert same(released(one.out), released(ours))


@pytest.mark.parametrize("kind", OPENING)
def test_a_node_that_vanished_meanwhile_is_in_the_sum(trial: Trials, kind: str) -> None:
    one = trial(ONE).killed(Point(kind, 1, False))
    one.away = {2}
    one.play()
    assert same(released(one.out), exact(one.config, everybody()))
    assert entries(one.out) == [(0, "released")]
    assert "the nodes of 12 clients are away" in one.refusals()


def test_too_few_left_abort_with_a_charge_and_a_later_opening_is_beyond_the_budget(
    trial: Trials,
) -> None:
    one = trial(ONE).killed(Point(transport.UNMASK, 1, False))
    one.away = {1, 2}
    one.aborted("shares of client")
    assert not (one.out / "release.pt").exists()
    assert entries(one.out) == [(0, "aborted")]
    one.away = set()
    with pytest.raises(UserError, match="more than the budget") as caught:
        one.play()
    assert caught.value.code == PRIVACY_VIOLATION
    assert not one.loop.log


@pytest.mark.slow
def test_without_a_budget_the_same_sum_opens_once_the_nodes_are_back(
    trial: Trials, undisturbed: Sums
) -> None:
    one = trial(BOTH).killed(Point(transport.UNMASK, 1, False))
    one.away = {1, 2}
    one.aborted("shares of client")
    one.away = set()
    one.play()
    assert same(released(one.out), undisturbed(BOTH))
    assert entries(one.out) == [(0, "aborted"), (0, "released")]
    assert all(len(messages) == 1 for messages in one.asked.values())


@pytest.mark.slow
def test_nobody_there_to_ask_costs_nothing(
    trial: Trials, undisturbed: Sums
) -> None:
    one = trial(BOTH).killed(Point(transport.SIGN, 1, True))
    one.away = {HOLDER}
    one.aborted("key holder's node did not answer")
    one.away = {0, 1, 2}
    one.aborted("no node answered")
    assert entries(one.out) == []
    one.away = set()
    one.play()
    assert same(released(one.out), undisturbed(BOTH))
    assert entries(one.out) == [(0, "released")]


@pytest.mark.slow
def test_too_few_signatures_leave_another_attempt_open(trial: Trials) -> None:
    """Nobody was asked for shares: whoever has not signed joins again, if that is enough."""
    one = trial({**ONE, "dp.epsilon": float("inf")}).killed(Point(transport.SIGN, 1, False))
    one.away = {1, 2}
    one.aborted("signed|fewer")
    assert one.nothing_left_open()
    one.away = set()
    one.play()
    assert entries(one.out) == [(0, "aborted"), (0, "released")]
    # Node 0's users signed the list of the first attempt, and join no second one of that round.
    assert "opens only once" in one.refusals()
    assert same(released(one.out), exact(one.config, everybody()[12:], attempt=1))


@pytest.mark.parametrize("first, durable", [
    (True, False), pytest.param(True, True, marks=pytest.mark.slow),
    pytest.param(False, False, marks=pytest.mark.slow), (False, True)])
def test_killed_around_the_writing_of_the_opening(
    trial: Trials, monkeypatch: pytest.MonkeyPatch, first: bool, durable: bool
) -> None:
    one, put = trial({**ONE, "dp.spare_rounds": 1}), FileJournal.put
    left = [1 if first else 2]

    def dies(self: FileJournal, entry: Underway) -> None:
        left[0] -= entry.opening is not None
        if left[0] or durable:
            put(self, entry)
        if not left[0]:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(FileJournal, "put", dies)
        with pytest.raises(Killed):
            one.play()
    one.play()
    # Only what was never durable is done anew, with new noise.
    attempt = 1 if first and not durable else 0
    assert same(released(one.out), exact(one.config, everybody(), attempt))
    assert entries(one.out) == [(0, "released")]


@pytest.mark.parametrize(("kept", "central"), [
    (False, False), pytest.param(False, True, marks=pytest.mark.slow),
    pytest.param(True, False, marks=pytest.mark.slow), (True, True)])
def test_killed_between_the_shares_and_the_charge(
    trial: Trials, monkeypatch: pytest.MonkeyPatch, kept: bool, central: bool
) -> None:
    flags = {**ONE, "dp.trust": "central", "dp.noise": "csprng"} if central else ONE
    one, put = trial(flags), FileVault.put

    def dies(self: FileVault, round_: int, sums: Any) -> None:
        if kept:
            put(self, round_, sums)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(FileVault, "put", dies)
        with pytest.raises(Killed):
            one.play()
    assert entries(one.out) == []
    noised = released(one.out) if kept else None
    one.play()
    assert entries(one.out) == [(0, "released")]
    if noised is not None:
        # What was drawn and kept is what is charged and handed out: no second noise.
        assert same(released(one.out), noised)
        assert transport.UNMASK not in one.kinds()
    else:
        assert transport.UPLOAD not in one.kinds()
        assert all(len(messages) == 1 for messages in one.answered.values())


@pytest.mark.slow
def test_a_server_put_back_into_an_earlier_opening_is_refused(
    trial: Trials, tmp_path: Path
) -> None:
    one = trial(TWICE).killed(Point(transport.UNMASK, 1, True))
    old = tmp_path / "old"
    shutil.copytree(one.out, old)
    one.play()
    assert entries(one.out) == [(0, "released"), (1, "released")]
    for path in one.out.iterdir():
        if path.is_file():
            path.unlink()
    for path in [*old.iterdir(), *(old / "deploy").iterdir()]:
        if path.is_file():
            shutil.copy(path, one.out / path.relative_to(old))
    one.answered.clear()
    one.aborted("revealed shares")
    assert not one.answered
    assert "no such client takes part in round" in one.refusals()
    assert not (one.out / "release.pt").exists()
    assert entries(one.out) == [(0, "aborted")]


@pytest.mark.parametrize("point, sentence", [
    (Point(transport.SIGN, NODES - 1, True), "signed"),
    (Point(transport.UNMASK, NODES - 1, True), "revealed shares"),
])
def test_another_set_of_survivors_in_the_saved_file_is_refused(
    trial: Trials, point: Point, sentence: str
) -> None:
    one = trial(ONE).killed(point)
    found = one.journal.get()
    assert found is not None and found.opening is not None
    values = decode(found.opening, (Message,))
    state = ServerState.from_bytes(values["masked"])
    fewer = state.survivors & ~1
    values["masked"] = replace(
        state, survivors=fewer, expected=state.expected & ~1,
        signatures={p: s for p, s in state.signatures.items() if p}).to_bytes()
    one.journal.put(replace(found, opening=encode(values)))
    one.answered.clear()
    one.aborted(sentence)
    assert not one.answered
    assert not (one.out / "release.pt").exists()
    assert entries(one.out) == [(0, "aborted")]


@pytest.mark.parametrize("gone", [False, True])
def test_a_damaged_or_lost_opening_is_charged_once_and_opens_nothing(
    trial: Trials, gone: bool
) -> None:
    one = trial({**ONE, "dp.epsilon": float("inf")}).killed(Point(transport.UNMASK, 1, False))
    (path,) = one.root.glob("opening-*")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    if gone:
        path.unlink()
    one.aborted("damaged or does not fit")
    assert not one.loop.log
    # All have signed the round's survivors, and join no further attempt at it.
    one.aborted("opens only once")
    assert not (one.out / "release.pt").exists()
    assert {status for _, status in entries(one.out)} == {"aborted"}


def test_nodes_repeat_an_answer_and_refuse_another_request(trial: Trials) -> None:
    one = trial(ONE)
    asked: dict[str, bytes] = {}
    answers: dict[str, bytes] = {}
    before, after = one.loop.before, one.loop.after

    def keep(kind: str, node: int, body: bytes) -> bytes | None:
        if node == 0:
            asked[kind] = body
        return before(kind, node, body)

    def kept(kind: str, node: int, body: bytes) -> bytes | None:
        if node == 0:
            answers[kind] = body
        return after(kind, node, body)

    one.loop.before, one.loop.after = keep, kept
    one.play()

    def again(kind: str, body: bytes) -> Any:
        return Party.read(one.loop.folders[0]).node(experiment=True).handle(kind, body)

    for kind in OPENING:
        assert again(kind, asked[kind]) == answers[kind]
    told = decode(asked[transport.UNMASK], KINDS)
    record = 72  # a neighbour and its signature
    for request in told["signatures"]:
        assert request.body.count(b"signatures") == 1
    cut = [replace(m, body=_without_one(m.body, record)) for m in told["signatures"]]
    answer = decode(again(transport.UNMASK, encode({"signatures": cut})), KINDS)
    assert answer["revealed"] == []
    assert len(answer["stayed_out"]) == len(cut) == 12
    lists = decode(asked[transport.SIGN], KINDS)
    other = [replace(m, body=m.body[:-1] + bytes([m.body[-1] ^ 1])) for m in lists["survivors"]]
    answer = decode(again(transport.SIGN, encode({"survivors": other, "adverts": []})), KINDS)
    assert answer["signatures"] == []


def _without_one(body: bytes, record: int) -> bytes:
    return pack({"signatures": unpack(body, {"signatures": bytes})["signatures"][record:]})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_wherever_it_dies_a_round_is_exact_and_charged_once_or_aborted(
    trial: Trials, seed: int
) -> None:
    """Killed three times at random, now and then with a node away from the opening, then left
    alone."""
    drawn = np.random.default_rng(seed)
    one = trial(TWICE if seed % 2 else ONE)
    kinds = (transport.SHARE, transport.UPLOAD, *OPENING, *OPENING)
    lost, done = False, False
    try:
        for _ in range(3):
            one.point = Point(str(drawn.choice(kinds)), int(drawn.integers(NODES)),
                              bool(drawn.integers(2)))
            away = {int(drawn.integers(NODES))} if drawn.integers(3) == 0 else set()
            lost |= bool(away)
            one.away_for = dict.fromkeys(OPENING, away)
            try:
                one.play()
            except Killed:
                continue
        one.point, one.away_for = None, {}
        one.play()
        done = True
    except UserError as error:
        assert lost and error.code in (ABORTED, PRIVACY_VIOLATION)
    rounds = [round_ for round_, status in entries(one.out) if status == "released"]
    assert rounds == list(range(len(rounds)))
    if done:
        assert rounds == ([0, 1] if seed % 2 else [0])
        assert len(entries(one.out)) == len(rounds)
    journal = one.journal.get()
    if done and not seed % 2 and journal is not None:
        assert same(released(one.out), exact(one.config, everybody(), journal.attempt))
    # Of one attempt at a round clients were asked to open one sum, in one way.
    assert all(len(messages) == 1 for messages in one.asked.values())
    assert all(len(messages) == 1 for messages in one.answered.values())
    opened = {key[0] for key in one.answered if key[0].startswith("unmask")}
    assert len(opened) == len({name.split(",")[0] for name in opened})
