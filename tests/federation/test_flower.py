"""What Flower brings: one array of bytes, from the node that was asked, or no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from privacy import ProtocolError
from privfedmm.federation import transport
from privfedmm.federation.flower import FlowerTransport, body_of, client_app

BODY = bytes(range(7))


def carried(body: bytes) -> RecordDict:
    return RecordDict({"body": ArrayRecord([np.frombuffer(body, dtype=np.uint8)])})


def raw(data: bytes, stype: str = "numpy.ndarray") -> RecordDict:
    return RecordDict({"body": ArrayRecord({"0": Array("uint8", (7,), stype, data)})})


def saved(array: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


BYTES = np.frombuffer(BODY, dtype=np.uint8)
BENT: dict[str, RecordDict] = {
    "nothing": RecordDict(),
    "another name": RecordDict({"other": ArrayRecord([BYTES])}),
    "one more": RecordDict({"body": ArrayRecord([BYTES]), "other": ArrayRecord([BYTES])}),
    "settings": RecordDict({"body": ConfigRecord({"0": 1})}),
    "no array": RecordDict({"body": ArrayRecord([])}),
    "two arrays": RecordDict({"body": ArrayRecord([BYTES, BYTES])}),
    "floats": RecordDict({"body": ArrayRecord([np.zeros(7)])}),
    "a table": RecordDict({"body": ArrayRecord([np.zeros((7, 7), dtype=np.uint8)])}),
    "no numpy": raw(saved(BYTES), "torch.tensor"),
    "no magic": raw(b"PK" + saved(BYTES)),
    "empty": raw(b""),
    "another version": raw(b"\x93NUMPY\x09\x00" + saved(BYTES)[8:]),
    "too short": raw(saved(BYTES)[:-1]),
    "too long": raw(saved(BYTES) + b"\x00"),
    "terabytes": raw(saved(BYTES).replace(b"(7,)", b"(" + b"9" * 13 + b",)")),
    "objects": raw(saved(np.array([None], dtype=object))),
    "no header": raw(saved(BYTES)[:10] + b"}" * 200),
}


def test_a_body_comes_back_as_it_was() -> None:
    for body in (b"", BODY, bytes(2**20)):
        assert body_of(carried(body)) == body


@pytest.mark.parametrize("name", BENT)
def test_whatever_else_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError):
        body_of(BENT[name])


class Near(Grid):
    """A grid whose nodes are ClientApps in this process.

    bend: what becomes of the replies of an exchange.
    """

    def __init__(self, bend: Callable[[list[Message]], list[Message]]) -> None:
        app = client_app(lambda kind, body, settings: kind.encode() + body)
        self._app, self._bend = app, bend
        self._replies: list[Message] = []

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def set_run(self, run: object) -> None:
        raise NotImplementedError

    def create_message(self, *args: object, **kwargs: object) -> Message:
        raise NotImplementedError

    def get_node_ids(self, *args: object, **kwargs: object) -> list[int]:
        return [1, 2]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        replies, sent = [], list(messages)
        for number, message in enumerate(sent):
            message.metadata.__dict__["_message_id"] = f"m{number}"
            context = Context(1, message.metadata.dst_node_id, {}, RecordDict(), {})
            replies.append(self._app(message, context))
        self._replies = self._bend(replies)
        return [f"m{number}" for number in range(len(sent))]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        out, self._replies = self._replies, []
        return out

    def send_and_receive(self, *args: object, **kwargs: object) -> list[Message]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's messages are made within a task of a run."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def exchanged(bend: Callable[[list[Message]], list[Message]]) -> dict[int, bytes]:
    near = FlowerTransport(Near(bend), 2, 2.0)
    return near.exchange(transport.UPLOAD, {1: b"one", 2: b"two"})


def test_every_node_answers_what_it_was_asked() -> None:
    assert exchanged(lambda replies: replies) == {1: b"uploadone", 2: b"uploadtwo"}


@pytest.mark.parametrize("name", ["floats", "settings", "terabytes"])
def test_an_answer_in_another_form_is_an_empty_one(name: str) -> None:
    """It used to end the server's process."""
    def bend(replies: list[Message]) -> list[Message]:
        replies[0].content = BENT[name]
        return replies

    assert exchanged(bend) == {1: b"", 2: b"uploadtwo"}


def test_an_answer_in_the_place_of_another_node_s_is_none() -> None:
    """The first node answers the second's message before it does; its own stays unanswered."""
    def bend(replies: list[Message]) -> list[Message]:
        one, two = replies
        one.metadata.__dict__["_reply_to_message_id"] = two.metadata.reply_to_message_id
        return [one, two]

    assert exchanged(bend) == {2: b"uploadtwo"}
