"""The noises that a config may name; other packages add theirs by the group privfedmm.noises."""

from __future__ import annotations

from privacy import noise_entry
from privacy.noises import NoiseEntry
from privfedmm.base.registry import Registry

GAUSSIAN = noise_entry("gaussian")
NOISES: Registry[NoiseEntry] = Registry(
    "noises", "noise", {"gaussian": "privfedmm.mechanisms.noises:GAUSSIAN"}, section="dp")
