"""The noises that a config may name; other packages add theirs by the group privfedmm.noises."""

from __future__ import annotations

from privacy import noise_entry
from privacy.events import load_events_by
from privacy.noises import NoiseEntry
from privfedmm.base.registry import Registry

GAUSSIAN = noise_entry("gaussian")
NOISES: Registry[NoiseEntry] = Registry(
    "noises", "noise", {"gaussian": "privfedmm.mechanisms.noises:GAUSSIAN"}, section="dp")
# An account or a ledger may tell of a noise that nothing in this process has named yet.
load_events_by(lambda: tuple(NOISES))
