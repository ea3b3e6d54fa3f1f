"""The built-in backbones under the contract that users' own must pass."""

from __future__ import annotations

from privfedmm.backbones import build
from privfedmm.testing.backbones import BackboneContract


class TestMf(BackboneContract):
    backbone = build("mf", 6)


class TestFedRap(BackboneContract):
    backbone = build("fedrap", 6)
