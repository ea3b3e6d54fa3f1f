"""The reference implementation's numbers, through the code that `run` uses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from privacy import Cohort, Dense, Ledger, PrivacyStack, Touched
from privfedmm.backbones import build
from privfedmm.backbones.fedrap import H0, B, H, W
from privfedmm.data import Rows
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.client import Local, Rates, Teacher, as_networks, decay_factor, train
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.fusion import Fusion, FusionMaps
from privfedmm.gfmfr.groups_by_server import ByServer
from privfedmm.gfmfr.settings import FusionSettings, reference_settings
from privfedmm.gfmfr.state import ServerState
from privfedmm.groupings import GroupSettings
from privfedmm.groupings.reference import align, cluster_parameters

NETWORK = (W, B, H, H0)
CASES = ["base_reg", "base_noreg", "joint_round3", "joint_round3_reg"]
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def close(ours: Tensor, theirs: np.ndarray) -> None:
    torch.testing.assert_close(ours, torch.from_numpy(theirs), **CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_client_update_in_a_block_of_two(golden: Path, case: str) -> None:
    """Both users of a case train side by side, as in the simulator, padded by three rows."""
    values = np.load(golden / "client_update.npz")
    meta = json.loads((golden / "client_update.json").read_text())
    about = {c["key"]: c for c in meta["cases"]}
    keys = [f"{case}/user0", f"{case}/user4"]

    def stack(what: str) -> Tensor:
        return torch.stack([torch.from_numpy(values[f"{k}/{what}"]) for k in keys])

    items = stack("items")
    real = items.shape[1]
    pad = torch.zeros(2, 3, dtype=torch.long)
    padded = torch.cat([items, pad], dim=1)
    mask = torch.cat([torch.ones(2, real), torch.zeros(2, 3)], dim=1)
    row = torch.arange(2)[:, None]
    shared_table = stack("before/item_commonality.weight")
    private_table = stack("before/item_personality.weight")
    local = Local(
        stack("before/embedding_user.weight"),
        shared_table[row, padded],
        private_table[row, padded],
        {name: stack(f"before/{name}") for name in NETWORK},
    )
    teacher = None
    first = about[keys[0]]
    if "joint" in case:
        preference = torch.cat([stack("group_preference"), torch.full((2, 3), 0.5)], dim=1)
        weight = math.cos(math.pi * first["round"] / (2 * first["total_rounds"]))
        teacher = Teacher(preference, weight, ema_ratio=True)
    settings = reference_settings().local.model_copy(update={"epochs": meta["local_epochs"]})
    rate = Rates(meta["lr"], meta["lr_items"], meta["lr"], first["alpha"], first["beta"])
    labels = torch.cat([stack("ratings"), torch.zeros(2, 3)], dim=1)
    trace = train(build("fedrap", 8), local, labels, mask, teacher, settings, rate)

    factor = decay_factor(settings, rate, trace.steps)[:, None, None]
    assert local.private is not None
    shared, private = shared_table * factor, private_table * factor
    shared[row, items], private[row, items] = local.shared[:, :real], local.private[:, :real]
    for index, key in enumerate(keys):
        close(local.user[index], values[f"{key}/after/embedding_user.weight"])
        close(shared[index], values[f"{key}/after/item_commonality.weight"])
        close(private[index], values[f"{key}/after/item_personality.weight"])
        for name in NETWORK:
            close(local.network[name][index], values[f"{key}/after/{name}"])
        end = about[key]["ema_ratio_end"]
        if end is not None:
            assert float(trace.balance[index]) == pytest.approx(end, rel=1e-4)


@pytest.mark.parametrize("kind", ["sum", "mlp", "gate", "moe", "attention"])
def test_fusion_modules(golden: Path, kind: str) -> None:
    values = np.load(golden / "fusion.npz")
    maps = FusionMaps(kind, {"id": 12, "txt": 12, "vis": 12}, 8)
    weights = {
        key.removeprefix(f"{kind}/"): torch.from_numpy(values[key])
        for key in values.files if key.startswith(f"{kind}/") and key != f"{kind}/out"
    }
    maps.load_state_dict(weights, strict=True)
    inputs = {
        "id": torch.from_numpy(values["in/group"])[None],
        "txt": torch.from_numpy(values["in/text"])[None],
        "vis": torch.from_numpy(values["in/image"])[None],
    }
    with torch.no_grad():
        close(maps(inputs)[0], values[f"{kind}/out"])


def test_the_whole_server_step(golden: Path) -> None:
    """Six clients' uploads through the gate, the plain aggregator and the server's step."""
    values = np.load(golden / "group_step.npz")
    labels = values["labels"].astype(np.int64)
    settings = reference_settings()
    settings = settings.model_copy(update={
        "model": settings.model.model_copy(update={"dim": 8}),
        "groups": settings.groups.model_copy(update={"groups": 3}),
        "local": settings.local.model_copy(update={"weight_decay_items": 0.0}),
        "fusion": settings.fusion.model_copy(update={"epochs": 4}),
    })
    features = {"text": values["text"], "image": values["image"]}
    rows = Rows.from_pairs(np.arange(6), np.arange(6), 6)
    algorithm = GFMFR(settings, rows, FeatureViews(features, 20, settings), 10, seed=0)
    assert algorithm.server.fusion is not None
    algorithm.server.fusion.network.load_state_dict({
        key.removeprefix("fusion_before/"): torch.from_numpy(values[key])
        for key in values.files if key.startswith("fusion_before/")
    })
    state = algorithm.initial_state()
    table = torch.stack([torch.from_numpy(values[f"client{u}/item_commonality.weight"])
                         for u in range(6)])
    flat = torch.stack([
        torch.cat([torch.from_numpy(values[f"client{u}/{n}"]).reshape(-1) for n in NETWORK])
        for u in range(6)
    ])
    base = torch.cat([state.network[n].reshape(-1) for n in NETWORK])

    stack = PrivacyStack(algorithm.releases, Ledger())
    cohort = Cohort(0, np.arange(6), 6)
    gate = stack.open(cohort)
    for ids in (np.array([0, 1]), np.array([2, 3, 4, 5])):
        index = torch.arange(20).expand(len(ids), -1)
        change = table[ids] - state.items
        gate.submit(ids, {
            "item_update": Touched(index, change, torch.ones(len(ids), 20), 20),
            "network_update": Dense(flat[ids] - base),
        })
    totals, _ = stack.finish(gate.close(), cohort, 6)
    mean = totals.individual["network_update"].dense(6).mean(0)
    assert isinstance(algorithm.groups, ByServer)
    after: ServerState = algorithm.groups.tables(state, totals, labels, mean, 6, 3)

    close(after.items, values_mean(values))
    network = algorithm.server.fusion.network
    for key in values.files:
        if key.startswith("fusion_after/"):
            close(network.state_dict()[key.removeprefix("fusion_after/")], values[key])
    assert after.preference is not None
    for group in range(3):
        close(after.preference[group], values[f"group_preference/{group}"])
        with torch.no_grad():
            close(network()[group], values[f"fused_items/{group}"])


def values_mean(values: np.lib.npyio.NpzFile) -> np.ndarray:
    return np.mean([values[f"client{u}/item_commonality.weight"] for u in range(6)], axis=0)


def test_reference_clustering_finds_the_reference_groups(golden: Path) -> None:
    values = np.load(golden / "group_step.npz")
    vectors = np.stack([
        np.concatenate([values[f"client{u}/{n}"].ravel() for n in NETWORK]) for u in range(6)
    ])
    groups = GroupSettings(grouping="reference", groups=3, clustering="kmeans", pca_variance=0)
    np.testing.assert_array_equal(cluster_parameters(vectors, groups, seed=42), values["labels"])


def test_alignment(golden: Path) -> None:
    small = json.loads((golden / "small.json").read_text())
    for case in small["align_groups"]:
        users = sorted(u for members in case["current"].values() for u in members)

        def of(groups: dict[str, list[int]], users: list[int] = users) -> np.ndarray:
            return np.array([int(next(g for g, m in groups.items() if u in m)) for u in users])

        np.testing.assert_array_equal(
            align(of(case["previous"]), of(case["current"])), of(case["aligned"])
        )


def test_learning_rates_decay_as_in_the_reference(golden: Path) -> None:
    from privfedmm.gfmfr.client import rates

    schedule = json.loads((golden / "small.json").read_text())["schedules"]
    local = reference_settings().local
    now, later = rates(local, 0, 20), rates(local, 1, 20)
    assert now.items == pytest.approx(0.01 * 20)
    assert later.items / now.items == pytest.approx(schedule["lr_items_decay_per_round"])
    assert later.network / now.network == pytest.approx(schedule["lr_network_decay_per_round"])
    assert (now.alpha, now.beta, later.alpha, later.beta) == (0.1, 0.1, 0.0, 0.0)


def test_fusion_training_alone_matches(golden: Path) -> None:
    values = np.load(golden / "group_step.npz")
    features = {n: torch.from_numpy(values[n]) for n in ("text", "image")}
    fusion = Fusion(FusionSettings(epochs=4, optimiser="sgd"), 3, features, 12, 8, seed=0)
    fusion.network.load_state_dict({
        key.removeprefix("fusion_before/"): torch.from_numpy(values[key])
        for key in values.files if key.startswith("fusion_before/")
    })
    target = torch.stack([torch.from_numpy(values[f"group_mean_items/{g}"]) for g in range(3)])
    fused, _ = fusion.fit(target)
    for group in range(3):
        close(fused[group], values[f"fused_items/{group}"])


def test_networks_are_copies() -> None:
    shared = {"w": torch.zeros(2)}
    mine = as_networks(shared, 3)
    mine["w"] += 1
    assert float(shared["w"].sum()) == 0
