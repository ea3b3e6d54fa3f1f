"""What a client keeps between two messages of a round."""

from __future__ import annotations

from dataclasses import dataclass, field

from privacy.aggregation.messages import pack, unpack
from privacy.crypto.keys import KEY_BYTES, KeyPair
from privacy.crypto.prg import SEED_BYTES
from privacy.crypto.shamir import SHARE_BYTES
from privacy.errors import ProtocolError

_FIELDS = {
    "stage": int, "seed": bytes, "channel": bytes, "mask": bytes, "opening": dict,
    "peer_masks": dict, "held": dict, "shared": bytes, "survivors": bytes, "bond": bytes,
}
_SIZES = {"opening": KEY_BYTES, "peer_masks": KEY_BYTES, "held": 2 * SHARE_BYTES}


@dataclass
class ClientState:
    """Hold secrets and agreed sets of one client in one round; each is dropped after its last use.

    stage: number of the last step. seed: of the self-mask. channel, mask: the round's key pairs.
    By slot of the neighbour: opening, keys that open its shares; peer_masks, its public mask
    keys; held, its shares of the self-mask and of the mask key. shared, survivors: sets of places
    in the cohort, as bits. bond: hash that ties the round together.
    """

    stage: int
    seed: bytes = field(default=b"", repr=False)
    channel: KeyPair | None = field(default=None, repr=False)
    mask: KeyPair | None = field(default=None, repr=False)
    opening: dict[int, bytes] = field(default_factory=dict, repr=False)
    peer_masks: dict[int, bytes] = field(default_factory=dict, repr=False)
    held: dict[int, bytes] = field(default_factory=dict, repr=False)
    shared: int = 0
    survivors: int = 0
    bond: bytes = b""

    @classmethod
    def fresh(cls) -> ClientState:
        """Return the state of a client that has done nothing."""
        return cls(stage=0)

    def to_bytes(self) -> bytes:
        """Return the state as bytes; most of it is secret."""
        return pack({
            "stage": int(self.stage), "seed": self.seed,
            "channel": self.channel.secret_bytes() if self.channel else b"",
            "mask": self.mask.secret_bytes() if self.mask else b"",
            "opening": self.opening, "peer_masks": self.peer_masks, "held": self.held,
            "shared": _number(self.shared), "survivors": _number(self.survivors),
            "bond": self.bond,
        })

    @classmethod
    def from_bytes(cls, body: bytes, degree: int) -> ClientState:
        """Read the state of `to_bytes`. Raises ProtocolError where it was cut or edited badly."""
        values = unpack(body, _FIELDS)
        sized = all(len(values[name]) in (0, KEY_BYTES) for name in ("channel", "mask", "bond"))
        if not sized or len(values["seed"]) not in (0, SEED_BYTES) or not 0 <= values["stage"] <= 6:
            raise ProtocolError("a saved state has a key or a stage that no client can have")
        for name, size in _SIZES.items():
            for slot, content in values[name].items():
                if not isinstance(slot, int) or not 0 <= slot < degree:
                    raise ProtocolError(f"{name} of a saved state names a slot without a neighbour")
                if not isinstance(content, bytes) or len(content) != size:
                    raise ProtocolError(f"{name} of a saved state must hold {size} bytes a slot")
        for name in ("channel", "mask"):
            values[name] = KeyPair.from_bytes(values[name]) if values[name] else None
        for name in ("shared", "survivors"):
            values[name] = int.from_bytes(values[name], "little")
        return cls(**values)


def _number(members: int) -> bytes:
    return members.to_bytes(-(-members.bit_length() // 8), "little")
