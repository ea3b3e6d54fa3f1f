"""An opening that an earlier version saved can be finished by this one."""

from __future__ import annotations

import pytest
import torch

from privacy import ProtocolError
from privacy.aggregator import Sums
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.mailbox import RoundLog
from privfedmm.federation.openings import Opening, Saved

# As it has always been written, field by field.
BODY = encode({
    "told": b"hash", "figures": [{"loss": 1.0}],
    "log": {"round": 3, "exchanges": 2, "seconds": 0.5, "training": 0.0, "protocol": 0.0,
            "bytes_up": 7, "bytes_down": 8, "nodes": 2, "stayed_out": ["a reason"]},
    "parts": [{"sums": {"a": torch.ones(2)}, "individual": {}, "bytes_up": 0, "survivors": 5,
               "bytes_down": 0, "seconds": {}, "noised": ["a"]}],
    "masked": None, "total": None,
})


def test_it_is_written_in_the_same_bytes() -> None:
    part = Sums({"a": torch.ones(2)}, {}, 0, 5, noised=frozenset({"a"}))
    opening = Opening((3, 0), b"hash", [part], [{"loss": 1.0}], None, None)
    log = RoundLog(3, 2, 0.5, bytes_up=7, bytes_down=8, nodes=2, stayed_out=["a reason"])
    assert opening.to_bytes(log) == BODY


def test_it_is_read_and_only_for_its_own_plan() -> None:
    saved = Saved.read(BODY, b"hash")
    assert saved.plan_hash == b"hash" and saved.log.bytes_up == 7 and saved.figures == [{"loss": 1}]
    assert saved.parts[0].noised == {"a"} and saved.parts[0].survivors == 5
    with pytest.raises(ProtocolError, match="another plan"):
        Saved.read(BODY, b"other")
    values = decode(BODY, ())
    values["plan_hash"] = values.pop("told")
    with pytest.raises(ProtocolError, match="other fields"):
        Saved.read(encode(values), b"hash")
