from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from privacy.aggregation.messages import Message
from privacy.errors import ProtocolError
from privfedmm.federation.codec import decode, encode, fields_of


@dataclass(frozen=True)
class Pair:
    one: object
    two: object


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.binary()
VALUES = st.recursive(
    PLAIN | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.builds(Pair, inner, inner)
    | st.dictionaries(st.text() | st.integers(0, 99), inner),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_encoded_comes_back_with_its_types(value: object) -> None:
    assert repr(decode(encode(value), (Pair,))) == repr(value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.int32, torch.bool])
def test_tensors_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    tensor = torch.arange(-3, 9).reshape(3, 4).to(dtype)
    back = decode(encode({"x": tensor, "none": tensor[:0]}), ())
    assert torch.equal(back["x"], tensor) and back["x"].dtype == dtype
    assert back["none"].shape == (0, 4)
    array = decode(encode(tensor.T.numpy()), ())
    np.testing.assert_array_equal(array, tensor.T.numpy())


def test_a_message_is_itself_again() -> None:
    message = Message("masked", 3, -1, (2, 0), b"\x00\xff")
    assert decode(encode([message]), (Message,)) == [message]


def test_only_what_is_allowed_is_built() -> None:
    with pytest.raises(ProtocolError):
        decode(encode(Pair(1, 2)), (Message,))
    with pytest.raises(TypeError, match="object does not travel"):
        encode(object())
    with pytest.raises(TypeError, match="complex64"):
        encode(np.zeros(2, dtype=np.complex64))


@given(st.binary(max_size=80))
def test_junk_is_refused_and_nothing_else(body: bytes) -> None:
    try:
        decode(body, (Message, Pair))
    except ProtocolError:
        return


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_body_is_read_or_refused(place: int, byte: int) -> None:
    body = bytearray(encode({"m": Message("k", 1, -1, (0, 0), b"x" * 9), "t": torch.ones(4)}))
    body[place % len(body)] = byte
    try:
        decode(bytes(body), (Message,))
    except ProtocolError:
        return


def test_fields_must_be_those_and_of_their_types() -> None:
    body = encode({"a": 1, "b": [2]})
    assert fields_of(body, (), {"a": int, "b": list}) == {"a": 1, "b": [2]}
    for wanted in ({"a": int}, {"a": int, "b": dict}, {"a": int, "b": list, "c": int}):
        with pytest.raises(ProtocolError):
            fields_of(body, (), wanted)
