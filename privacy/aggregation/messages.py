"""Messages between parties of a protocol: what travels, who sees it, and how it is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from privacy.aggregation.forms import (
    ELEMENTS,
    WIDEST,
    Form,
    Of,
    Raw,
    Record,
    Row,
    Text,
    Whole,
    scan,
)
from privacy.errors import ProtocolError

SERVER, KEY_HOLDER = -1, -2
LAST_PARTY = -16  # further servers and the like, of protocols that others bring
HEADER_BYTES = 32
Body = Mapping[str, Any]
_ANY: dict[type, Form] = {int: Whole(-WIDEST - 1), str: Text(), bytes: Raw(), list: Of(list),
                          dict: Of(dict)}
# What every message has around its body, whoever sent it.
_HEADER: dict[str, Form] = {
    "kind": Text(HEADER_BYTES), "sender": Whole(LAST_PARTY), "receiver": Whole(LAST_PARTY),
    "round": Row((Whole(), Whole())), "body": Raw()}


@dataclass(frozen=True)
class Message:
    """Hold one message of a protocol, header and body.

    kind: what it is, which fixes what its body holds. sender, receiver: a client's number, SERVER
    or KEY_HOLDER. round: the number of the round and of the attempt at it, so that no earlier
    message fits. body: what the kind of message carries, in the bytes of `pack`.
    Raises ProtocolError for fields of other types or out of bounds: there is no such message.
    """

    kind: str
    sender: int
    receiver: int
    round: tuple[int, int]
    body: bytes

    def __post_init__(self) -> None:
        for name, form in _HEADER.items():
            form.check(getattr(self, name), name)

    def nbytes(self) -> int:
        """Return the bytes on the wire: body and header."""
        return len(self.body) + HEADER_BYTES

    def digest(self) -> bytes:
        """Return the SHA-256 [32] of all of it: by that the very same message is known again."""
        head = f"{self.kind} {self.sender} {self.receiver} {self.round}".encode()
        return hashlib.sha256(hashlib.sha256(head).digest() + self.body).digest()


def pack(body: Body) -> bytes:
    """Write named values as bytes: integers, strings, bytes, lists and maps of them (MessagePack).
    """
    packed: bytes = msgpack.packb(dict(body), use_bin_type=True)
    return packed


def unpack(
    body: bytes, fields: Mapping[str, Form | type], elements: int = ELEMENTS
) -> dict[str, Any]:
    """Read the values of `pack`: exactly `fields`, each of its form.

    A type in the place of a form is any number, text, bytes, list or map; a list or map is then
    looked into by whoever asks. elements: most values that the body may hold. Raises ProtocolError,
    and nothing else.
    """
    if type(body) is not bytes:
        raise ProtocolError("the body of a message must be bytes")
    scan(body, elements)
    try:
        values = msgpack.unpackb(body, raw=False, strict_map_key=False, use_list=True)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a message cannot be read ({error})") from error
    Record({n: _ANY[f] if isinstance(f, type) else f for n, f in fields.items()}).check(
        values, "a message")
    found: dict[str, Any] = values
    return found


@dataclass
class Transcript:
    """Record every message in order, for tests and audits. keep_bodies: False keeps sizes alone."""

    keep_bodies: bool = True
    messages: list[Message] = field(default_factory=list)
    sizes: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def record(self, message: Message) -> None:
        """Note a message on its way."""
        key = (message.kind, message.sender, message.receiver)
        self.sizes[key] = self.sizes.get(key, 0) + message.nbytes()
        if self.keep_bodies:
            self.messages.append(message)

    def seen_by(self, party: int) -> Iterator[Message]:
        """Yield what a party received, in order; nothing where bodies are not kept."""
        return (m for m in self.messages if m.receiver == party)

    def bytes_from(self, party: int) -> int:
        """Return the bytes that a party sent."""
        return sum(size for (_, sender, _), size in self.sizes.items() if sender == party)

    def bytes_to(self, party: int) -> int:
        """Return the bytes that a party received."""
        return sum(size for (_, _, receiver), size in self.sizes.items() if receiver == party)
