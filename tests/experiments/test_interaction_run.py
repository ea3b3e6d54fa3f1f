"""Unit interaction and adaptive clips by the command line: record, audit, refusal, resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from privfedmm.config import resolve
from privfedmm.runs import run as runs
from privfedmm.runs.session import Session
from tests.commands import BARE, cli
from tests.ledgers import charges

ADAPTIVE = ("--set", "dp.clipping=adaptive", "--set", "dp.clip_norm=0.2")


@pytest.mark.parametrize("method", ["backbone", "gfmfr"])
def test_unit_interaction_holds_against_the_server(method: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = cli("run", "--unit", "interaction", "--dp-epsilon", "8", "--method", method,
               "--rounds", "3", *BARE, "--json", "--out", str(out))
    assert done.returncode == 0, done.stderr
    privacy = json.loads(done.stdout)["privacy"]
    assert privacy["unit"] == "interaction" and "one interaction" in privacy["adjacency"]
    assert privacy["trust"] == "local" and "not for the whole user" in privacy["trust_means"]
    assert privacy["epsilon_vs_server"] == privacy["epsilon"] == pytest.approx(8.0, abs=1e-6)
    assert privacy["epsilon_spent"] == pytest.approx(8.0, abs=1e-6)
    assert privacy["delta"] < 1e-5, "of users x items, which bound the interactions"
    (release,) = privacy["releases"]
    assert (release["event"], release["steps"], release["count"]) == ("InteractionGaussian", 3, 3)
    for words in ("interaction level", "9 Gaussian releases", "against the server: epsilon 8",
                  "interactions together"):
        assert words in " ".join(done.stderr.split())
    done = cli("audit", str(out), "--parts", "budget", "--json")
    assert done.returncode == 0, done.stderr
    prices = json.loads(done.stdout)["prices"]
    assert prices["pld"]["epsilon"] == pytest.approx(8.0, abs=1e-3)
    assert prices["prv"]["epsilon"] == pytest.approx(8.0, abs=2e-2)
    config = out / "config.toml"
    config.write_text(config.read_text().replace("epochs = 3\nbatch", "epochs = 2\nbatch"))
    done = cli("audit", str(out), "--parts", "budget")
    assert done.returncode == 3 and "3 noisy steps in the ledger, 2" in done.stderr
    config.write_text(config.read_text().replace('unit = "interaction"', 'unit = "user"'))
    done = cli("audit", str(out), "--parts", "budget")
    assert done.returncode == 3 and "protects one interaction" in " ".join(done.stderr.split())


def test_an_adaptive_run_shows_its_clip_norms_and_passes_its_audit(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = cli("run", "--dp-epsilon", "2", "--method", "gfmfr", *ADAPTIVE, *BARE, "--json",
               "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "adaptive clip" in done.stderr
    privacy = json.loads(done.stdout)["privacy"]
    assert privacy["epsilon_spent"] == pytest.approx(2.0, abs=1e-6)
    assert privacy["epsilon_spent"] <= 2.0
    told = privacy["adaptive_clip"]
    assert len(told["clip_norms"]) == len(told["shares"]) == 8 and told["clip_norms"][0] == 0.2
    assert len(set(told["clip_norms"])) == 8
    rows = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert [row["clip_norm"] for row in rows] == told["clip_norms"]
    assert cli("audit", str(out), "--parts", "budget").returncode == 0
    record = json.loads((out / "record.json").read_text())
    record["privacy"]["adaptive_clip"]["shares"][2] += 0.3
    (out / "record.json").write_text(json.dumps(record))
    done = cli("audit", str(out), "--parts", "budget")
    assert done.returncode == 3 and "follows from the released shares" in " ".join(
        done.stderr.split())


def test_an_adaptive_clip_without_noise(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = cli("run", "--dp-epsilon", "inf", "--method", "gfmfr", *ADAPTIVE, "--rounds", "3",
               *BARE, "--json", "--out", str(out))
    assert done.returncode == 0, done.stderr
    privacy = json.loads(done.stdout)["privacy"]
    assert privacy["epsilon"] is None and len(privacy["adaptive_clip"]["shares"]) == 3
    assert cli("audit", str(out), "--parts", "budget").returncode == 0


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "settings",
    [{"dp.clipping": "adaptive", "dp.clip_norm": 0.2}, {"dp.unit": "interaction"}],
    ids=["adaptive", "interaction"])
def test_a_killed_run_resumes_as_if_it_had_not_been(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between charge and checkpoint, under simulation noise: nothing may differ."""
    config = resolve(None, {"dp.epsilon": 2.0, "method": "gfmfr", "rounds": 4, "baselines": [],
                            "dp.noise": "simulation", **settings})
    whole = runs.start(config, tmp_path / "whole", lambda row: None)
    out, save, calls = tmp_path / "run", Session.save, []

    def dies(session: Session, folder: Path, data_hash: str) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        save(session, folder, data_hash)

    monkeypatch.setattr(Session, "save", dies)
    with pytest.raises(Killed):
        runs.start(config, out, lambda row: None)
    monkeypatch.setattr(Session, "save", save)
    charged = charges(out)
    assert len({row["round"] for row in charged}) == 3
    record = runs.resume(out, lambda row: None)
    assert record["metrics"] == whole["metrics"]
    assert record["privacy"] == whole["privacy"]
    assert charges(out)[: len(charged)] == charged
    ends = [torch.load(folder / "checkpoint.pt", weights_only=True)
            for folder in (out, tmp_path / "whole")]
    users = [torch.load(folder / "devices" / f"round-{end['devices']}.pt", weights_only=True)
             for folder, end in zip((out, tmp_path / "whole"), ends, strict=True)]
    assert torch.equal(*(held["now"]["clients"]["user"] for held in users))
    assert ends[0]["clip_shares"] == ends[1]["clip_shares"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--unit", "interaction"), "does not train with noise on the device"),
        (("--unit", "interaction", "--method", "backbone", "--backbone", "fedrap"),
         "not written for fedrap"),
        (("--unit", "interaction", "--method", "gfmfr", "--trust", "central"),
         "nobody is trusted"),
        (("--unit", "interaction", "--method", "gfmfr", "--sampling", "poisson",
          "--sampling-rate", "0.5"), "full participation only"),
        (("--unit", "interaction", "--method", "gfmfr", "--set",
          "algorithm.groups.grouping=private"), "group signal"),
        (("--unit", "interaction", "--method", "gfmfr", *ADAPTIVE), "set dp.clipping to fixed"),
        (("--unit", "item", "--method", "gfmfr"), "--unit"),
        (ADAPTIVE, "length 1 by construction"),
        (("--method", "gfmfr", "--trust", "local", *ADAPTIVE), "noise on the sum"),
        (("--method", "gfmfr", "--set", "dp.clip_bit_stddev=0.1", *ADAPTIVE),
         "spends the whole budget"),
        (("--method", "gfmfr", "--set", "dp.clip_largest=0.1", *ADAPTIVE), "outside its caps"),
    ],
)
def test_promises_that_cannot_be_kept_are_refused(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    done = cli("run", "--dp-epsilon", "2", *arguments, "--out", str(tmp_path / "run"))
    assert done.returncode == 2, done.stderr
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
