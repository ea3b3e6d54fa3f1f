"""The part of a run's record that its claim covers, or that was public before the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Named one by one: what a later version adds to a record is left out until somebody adds it here.
_RUN = ("format", "label", "series", "method", "dp_epsilon", "mode", "backbone", "parts", "seed",
        "rounds_run", "environment")
_DATASET = ("name", "users", "items", "modalities", "feature_notes", "feature_sha256", "missing",
            "k_core")
_PRIVACY_LEFT_OUT = ("simulation_only",)
_FIGURES = ("epsilon", "epsilon_vs_observers", "epsilon_vs_server",
            "epsilon_if_participation_is_seen", "epsilon_spent")


def claimed_record(record: Mapping[str, Any], nothing: str | None) -> dict[str, Any]:
    """Return a record without the figures of the experimenter, which no claim covers.

    Metrics, baselines, losses, group sizes, seconds, bytes, the hash of the data and the number of
    interactions follow from rows that nobody released. nothing: why no claim is made, or None where
    one is; then no epsilon is left in the record either.
    """
    privacy = {n: x for n, x in record["privacy"].items() if n not in _PRIVACY_LEFT_OUT}
    if nothing is not None:
        privacy |= {**dict.fromkeys(_FIGURES), "reason": f"no privacy is claimed: {nothing}"}
    return {
        **{name: record[name] for name in _RUN},
        "dataset": {name: record["dataset"][name] for name in _DATASET},
        "protocol": {"selection": record["protocol"]["selection"]},
        "privacy": privacy,
    }
