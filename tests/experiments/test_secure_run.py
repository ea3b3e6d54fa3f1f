"""Secure runs by the command line: masked, encrypted, distributed noise, compare, benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privacy import Statement
from privacy.aggregation.messages import Transcript
from privfedmm.audit.first_round import first_round
from privfedmm.config import resolve
from privfedmm.federation import Simulator, run_round
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session
from tests.commands import BARE, cli
from tests.ledgers import charges

# Few users: a full protocol among 60 clients takes a tenth of a second.
SMALL = ("--dataset", "planted:60", *BARE)


def run(out: Path, *arguments: str) -> dict[str, Any]:
    done = cli("run", *SMALL, *arguments, "--json", "--out", str(out))
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


@pytest.mark.slow
def test_every_way_of_summing_gives_the_same_model(tmp_path: Path) -> None:
    """Ring, masks and ciphertexts carry the same integers: the same metrics, to the last digit;
    plain sums differ by the rounding alone."""
    ways = {
        "plain": (),
        "ring": ("--aggregation", "masked", "--set", "secure.mode=ring"),
        "masked": ("--aggregation", "masked"),
        "encrypted": ("--aggregation", "masked", "--group-statistics", "encrypted"),
        "ckks": ("--group-statistics", "encrypted", "--set", "secure.scheme=ckks"),
    }
    ways = {n: (*a, "--rounds", "7", "--dp-epsilon", "inf", "--method", "gfmfr", "--noise",
                "simulation", "--set", "dp.clip_norm=64.0", "--set",
                "algorithm.groups.grouping=private", "--set", "dp.subspace_rank=0", "--set",
                "algorithm.groups.adapter_rank=16")
            for n, a in ways.items()}
    records = {name: run(tmp_path / name, *arguments) for name, arguments in ways.items()}
    for name in ("masked", "encrypted", "ckks"):
        assert records[name]["metrics"] == records["ring"]["metrics"]
    for key, value in records["plain"]["metrics"]["test"].items():
        assert records["ring"]["metrics"]["test"][key] == pytest.approx(value, abs=1e-3)
    names = {n: r["privacy"]["aggregation"] for n, r in records.items()}
    assert names == {
        "plain": "plain", "ring": "ring", "masked": "masked",
        "encrypted": "updates masked, group statistics encrypted",
        "ckks": "updates plain, group statistics encrypted",
    }


def test_ring_and_full_protocol_are_byte_equal() -> None:
    """The released totals themselves, over three rounds, with distributed noise."""
    totals = {}
    for mode in ("ring", "full"):
        config = resolve(None, {
            "dataset": "planted:50", "method": "gfmfr", "aggregation": "masked", "dp.epsilon": 4.0,
            "dp.trust": "distributed", "dp.noise": "simulation", "secure.mode": mode,
            "algorithm.opening.on": False})
        data = load_data(config)
        session = Session.start(config, data)
        seen = []
        for number in range(3):
            session.state, _ = run_round(
                session.algorithm, Simulator(),
                session.stack, session.state, session.clients, data.num_users, number)
            seen.append(session.state.items.clone())
        totals[mode] = seen
    for ring, full in zip(totals["ring"], totals["full"], strict=True):
        assert torch.equal(ring, full)


def test_distributed_noise_holds_against_the_server(tmp_path: Path) -> None:
    record = run(tmp_path / "run", "--aggregation", "masked", "--trust", "distributed",
                 "--dp-epsilon", "2.0", "--set", "mix.on=false")
    privacy = record["privacy"]
    assert privacy["epsilon"] == privacy["epsilon_vs_server"] <= 2.0
    assert privacy["epsilon_spent"] == pytest.approx(2.0, abs=1e-3)
    assert privacy["noise_source"] == "csprng-integer"
    (release,) = privacy["releases"]
    assert release["event"] == "DistributedDiscreteGaussian"
    entry = charges(tmp_path / "run")[0]
    # 60 users, a tenth may vanish, a twentieth may side with the server.
    assert entry["shares"] == 54 - 3 and entry["dims"] > 0
    statement = json.loads((tmp_path / "run" / "statement.json").read_text())
    assert "51 clients" in statement["trust_means"]
    assert "discrete Gaussian releases" in "\n".join(Statement(**statement).lines())
    audited = cli("audit", str(tmp_path / "run"), "--parts", "budget", "--json")
    assert audited.returncode == 0, audited.stderr
    prices = json.loads(audited.stdout)["prices"]
    assert prices["rdp"]["epsilon"] == pytest.approx(2.0, abs=1e-3)
    assert prices["pld"]["epsilon"] is None


def test_the_flagship_configuration_runs(tmp_path: Path) -> None:
    record = run(tmp_path / "run", "--aggregation", "masked", "--group-statistics", "encrypted",
                 "--trust", "distributed", "--dp-epsilon", "8", "--set", "statistics.groups=4",
                 "--set", "mix.on=false")
    assert record["privacy"]["epsilon_vs_server"] <= 8.0
    (release,) = record["privacy"]["releases"]
    assert release["count"] == 2
    seconds = record["costs"]["seconds"]
    assert {"masking_clients", "masking_server", "encryption_clients", "encryption_server",
            "encryption_key_holder"} <= seconds.keys()


@pytest.mark.slow
def test_more_groups_than_clients_and_groups_of_one(tmp_path: Path) -> None:
    """20 groups for 12 clients, most empty or of one: the run ends, with finite figures."""
    done = cli("run", "--dataset", "planted:12", "--k-core", "0", "--rounds", "7", "--aggregation",
               "masked", "--group-statistics", "encrypted", "--set", "algorithm.groups.groups=20",
               "--set", "algorithm.opening.on=false",
               *BARE, "--json", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert sum(record["groups"]["sizes"]) == 12 and max(record["groups"]["sizes"]) < 5
    assert all(np.isfinite(value) for value in record["metrics"]["test"].values())


def test_too_many_dropouts_abort_are_charged_and_can_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("--aggregation", "masked", "--trust", "distributed", "--dp-epsilon", "2.0",
                 "--set", "secure.simulated_dropout=0.4")
    done = cli("run", *SMALL, *arguments, "--out", str(out))
    assert done.returncode == 4
    assert "was aborted" in done.stderr and "--resume" in done.stderr
    (entry,) = charges(out)
    assert entry["status"] == "aborted" and entry["event"] == "DistributedDiscreteGaussian"
    # The budget was for one round, and that is spent.
    assert cli("run", "--resume", str(out)).returncode == 3


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--trust", "distributed", "--dp-epsilon", "2"), 2, "add --aggregation masked"),
        (("--trust", "distributed", "--dp-epsilon", "2", "--aggregation", "masked",
          "--group-statistics", "plain"), 2, "add --aggregation masked"),
        (("--trust", "local", "--dp-epsilon", "2", "--aggregation", "masked"), 2,
         "leaves no grid"),
        (("--aggregation", "masked", "--set", "secure.levels=4194304", "--dataset",
          "planted:2000"), 2, "lower secure.levels"),
        (("--aggregation", "masked", "--set", "secure.levels=16", "--dp-epsilon", "2",
          "--trust", "distributed", "--dataset", "planted:900"), 2, "raise secure.levels"),
        (("--group-statistics", "encrypted", "--dp-epsilon", "2", "--sampling", "poisson",
          "--sampling-rate", "0.5"), 2, "everyone must take part"),
        (("--aggregation", "shuffled"), 2, "aggregation"),
    ],
)
def test_combinations_that_protect_nobody_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = cli("run", *SMALL, *arguments, "--out", str(tmp_path / "run"))
    assert done.returncode == code
    assert sentence in " ".join(done.stderr.split())
    assert not (tmp_path / "run" / "record.json").exists()


@pytest.mark.slow
def test_what_a_server_saw(tmp_path: Path) -> None:
    """Interactions are read off plain uploads; from masked ones, at chance."""
    done = cli("compare", *SMALL[:2], "--rounds", "3", "--modes", "plain,masked,encrypted",
               "--dropouts", "0,0.2", "--out", str(tmp_path / "c"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    plain, masked, encrypted = (result["modes"][m] for m in ("plain", "masked", "encrypted"))
    assert plain["leak"]["f1"] >= 0.95 and plain["leak"]["auc"] >= 0.95
    for mode in (masked, encrypted):
        assert mode["leak"]["f1"] <= mode["leak"]["chance_f1"] + 0.02
        assert mode["leak"]["auc"] == pytest.approx(0.5, abs=0.03)
        assert mode["max_update_difference"] <= mode["quantisation_bound"]
        assert mode["bytes_up_per_client_round"] > 0 and mode["seconds"]["train"] > 0
        cell = mode["dropout"]["0.2"]
        assert cell["finished"] and cell["survivors"] < 60
        assert cell["max_update_difference"] <= cell["quantisation_bound"]
    assert masked["metrics"]["test"] == encrypted["metrics"]["test"]
    assert json.loads((tmp_path / "c" / "compare.json").read_text())["modes"].keys() == \
        result["modes"].keys()


def test_what_arrives_at_the_server_is_of_full_length_and_uniform() -> None:
    """The bytes of every masked vector: as long as the whole upload, no client's value in them."""
    config = resolve(None, {"dataset": "planted:40", "aggregation": "masked"})
    data = load_data(config)
    view = first_round(config, data, 40)
    assert view.seen is not None
    words = view.seen.reshape(40, -1).view(np.uint32)
    assert (words != 0).mean() > 0.999
    # Mean of the top bit of 40 x 10,000 words: 5 standard errors, false alarm below 1e-6.
    share = float((words >> 31).mean())
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(words.size)


def test_every_client_is_sent_as_many_bytes_as_every_other() -> None:
    """Whatever its group: the broadcast is one and the same, and the protocol's messages are of
    one length; uploads likewise."""
    config = resolve(None, {"dataset": "planted:40", "aggregation": "masked",
                            "group_statistics": "encrypted", "algorithm.opening.on": False})
    data, transcript = load_data(config), Transcript(keep_bodies=False)
    session = Session.start(config, data, None, transcript)
    run_round(session.algorithm, Simulator(), session.stack, session.state, session.clients,
              data.num_users, 0)
    groups = session.clients.group.numpy()
    assert len(np.unique(groups)) > 1
    down = {transcript.bytes_to(client) for client in range(40)}
    up = {transcript.bytes_from(client) for client in range(40)}
    assert len(up) == 1 and len(down) == 1


@pytest.mark.slow
def test_benchmarks_print_what_scripts_read() -> None:
    done = cli("bench", "secagg", "--clients", "40", "--dims", "500", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ratio_to_plain"] > 0
    assert result["active_to_semi_honest"] > 0
    assert [(c["dropout"], c["server"]) for c in result["cases"]] == [
        (dropout, server) for dropout in (0.0, 0.1, 0.3) for server in ("active", "semi_honest")]
    assert all(c["finished"] and c["right"] for c in result["cases"])
    # Against a server that plays clients false more neighbours must agree on the survivors.
    for active, honest in zip(result["cases"][::2], result["cases"][1::2], strict=True):
        assert active["threshold"] > honest["threshold"]
        assert active["survivors"] == honest["survivors"] <= 40
        assert (active["survivors"] < 40) == (active["dropout"] > 0)
    done = cli("bench", "encrypted", "--clients", "20", "--json")
    result = json.loads(done.stdout)
    assert {"client_ms", "client_bytes", "server_ms_per_client", "keyholder_ms"} <= result.keys()
    assert all(case["exact"] and case["security_bits"] >= 128 for case in result["cases"])
