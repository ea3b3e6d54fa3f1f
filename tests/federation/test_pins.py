"""A server that swaps item features is refused before any client trains or uploads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from privfedmm.assemble import algorithm_of
from privfedmm.base.errors import UserError
from privfedmm.config import resolve, to_toml
from privfedmm.federation import FeaturePin, FeaturesChangedError, Simulator, run_round
from privfedmm.federation.feature_pin import features_digest
from privfedmm.runs import run as runs
from privfedmm.runs.session import Session

FEATURES = {"text": np.arange(6.0).reshape(3, 2), "image": np.ones((3, 4), dtype=np.float32)}


def test_digest_is_of_values_shapes_types_and_names() -> None:
    """Changing any of them changes it; the order of names does not."""
    digest = features_digest(FEATURES)
    assert digest == features_digest(dict(reversed(FEATURES.items())))
    other = [
        {**FEATURES, "text": FEATURES["text"][::-1]},
        {**FEATURES, "text": FEATURES["text"].reshape(2, 3)},
        {**FEATURES, "text": FEATURES["text"].astype(np.float32)},
        {"text": FEATURES["image"], "image": FEATURES["text"]},
        {"text": FEATURES["text"]},
        {},
    ]
    assert len({digest, *map(features_digest, other)}) == 7
    pin = FeaturePin.of(FEATURES)
    pin.check(FEATURES)
    for features in other:
        with pytest.raises(FeaturesChangedError, match="refuses to train"):
            pin.check(features)


@pytest.mark.parametrize("method", ["gfmfr", "group_statistics"])
def test_swapped_features_stop_the_round_before_anything_leaves(method: str) -> None:
    config = resolve(None, {"dataset": "planted:60", "method": method, "rounds": 2})
    data = runs.load_data(config)
    session = Session.start(config, data)
    swapped = replace(data, features={n: x[::-1].copy() for n, x in data.features.items()})
    lying = algorithm_of(config, swapped, session.planned)

    class Counting(type(lying)):  # type: ignore[misc]
        """Notices a client that trains."""

        def local(self, *arguments: object) -> None:
            raise AssertionError("a client trained with swapped features")

    lying.__class__ = Counting
    with pytest.raises(FeaturesChangedError):
        run_round(lying, Simulator(session.pin), session.stack, session.state, session.clients,
                  data.num_users, 0)
    assert not session.stack.ledger.entries
    state, _ = run_round(session.algorithm, Simulator(session.pin), session.stack, session.state,
                         session.clients, data.num_users, 0)
    assert state.round == 1


def test_a_resumed_run_holds_the_server_to_the_first_features(tmp_path: Path) -> None:
    """The pin is in the checkpoint, not computed anew from whatever comes after it."""
    config = resolve(None, {"dataset": "planted:60", "method": "group_statistics",
                            "statistics.groups": 3, "baselines": []})
    data = runs.load_data(config)
    session = Session.start(config, data)
    session.save(tmp_path, data.sha256)
    (tmp_path / runs.CONFIG).write_text(to_toml(session.config), encoding="utf-8")
    swapped = replace(data, features={n: x * 2 for n, x in data.features.items()})
    later = Session.start(config, swapped)
    later.restore(tmp_path, data.sha256)
    assert later.pin == session.pin
    with pytest.raises(UserError, match="refuses to train"):
        runs.play(later, data.sha256, tmp_path, lambda row: None,
                  runs.in_one_process(later, swapped))
