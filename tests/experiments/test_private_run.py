"""Private runs by the command line: record, statement, audit, refusal, resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from privfedmm.config import resolve
from privfedmm.runs import run as runs
from privfedmm.runs.session import Session
from tests import markup
from tests.commands import BARE, cli
from tests.ledgers import charges


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    out = tmp_path_factory.mktemp("private") / "run"
    done = cli("run", "--dp-epsilon", "2.0", "--set", "statistics.groups=4", "--set",
               "mix.on=false", *BARE, "--json", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), done.stderr


def test_record_and_statement_say_everything(finished: tuple[Path, dict[str, Any], str]) -> None:
    out, record, said = finished
    privacy = record["privacy"]
    assert privacy["epsilon"] == pytest.approx(2.0, abs=1e-6) and privacy["epsilon"] <= 2.0
    assert privacy["epsilon_spent"] == pytest.approx(2.0, abs=1e-6)
    assert privacy["delta"] == 1e-5 and privacy["unit"] == "user"
    assert privacy["trust"] == "central" and privacy["epsilon_vs_server"] is None
    assert privacy["noise_source"] == "csprng-integer"
    assert "zero-out" in privacy["adjacency"] and privacy["not_covered"]
    (release,) = privacy["releases"]
    assert release["count"] == 2 and release["clip_norm"] == 1.0
    assert release["noise_multiplier"] == pytest.approx(2.8197, abs=1e-3)
    ledger = charges(out)
    assert [e["event"] for e in ledger] == ["Gaussian", "Gaussian"]
    assert json.loads((out / "statement.json").read_text())["epsilon"] == privacy["epsilon"]
    for word in ("epsilon 2", "adjacency", "trust", "noise multiplier", "not covered"):
        assert word in said
    assert "last round" in record["protocol"]["selection"]


def test_audit_passes_and_writes_its_findings(finished: tuple[Path, dict[str, Any], str]) -> None:
    out = finished[0]
    done = cli("audit", str(out), "--parts", "budget", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["passed"] and json.loads((out / "audit.json").read_text()) == result
    assert result["prices"]["pld"]["epsilon"] == pytest.approx(2.0, abs=1e-3)
    assert 2.0 < result["prices"]["rdp"]["epsilon"] < 2.3
    assert [r["epsilon_so_far"] for r in result["releases"]][-1] == pytest.approx(2.0, abs=1e-4)
    shown = cli("audit", str(out), "--parts", "budget")
    assert shown.returncode == 0 and "audit passed" in shown.stderr


def _edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


FAULTS = {
    "noise edited in the ledger": (
        "ledger.json", lambda rows: rows[1].update(noise_multiplier=1.0), "hash chain"),
    "ledger cut short": ("ledger.json", lambda rows: rows.pop(), "entries were removed"),
    "ledger emptied": ("ledger.json", lambda rows: rows.clear(), "entries were removed"),
    "smaller epsilon claimed": (
        "record.json", lambda r: r["privacy"].update(epsilon=1.0), "overspent"),
    "larger epsilon claimed": (
        "record.json", lambda r: r["privacy"].update(epsilon=3.0), "config asks for 2"),
    "fewer releases stated": (
        "record.json", lambda r: r["privacy"]["releases"][0].update(count=1), "in the record"),
    "delta too large": (
        "record.json", lambda r: r["privacy"].update(delta=0.01), "not below 1 / users"),
    "spent misstated": (
        "record.json", lambda r: r["privacy"].update(epsilon_spent=0.5), "was spent"),
    "other noise stated round by round": (
        "record.json", lambda r: r["privacy"].update(noise_multipliers=[9.0, 9.0]),
        "noise_multipliers"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_audit_names_what_does_not_fit(
    fault: str, finished: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    file, change, sentence = FAULTS[fault]
    shutil.copytree(finished[0], tmp_path / "run")
    _edit(tmp_path / "run" / file, change)
    done = cli("audit", str(tmp_path / "run"), "--parts", "budget")
    assert done.returncode == 3
    assert sentence in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--dp-epsilon", "-1"), "dp.epsilon"),
        (("--dp-epsilon", "2", "--dp-delta", "0.01"), "not below 1 / users"),
        (("--trust", "local"), "give --dp-epsilon as well"),
        (("--dp-epsilon", "2", "--trust", "distributed"), "add --aggregation masked"),
        (("--dp-epsilon", "2", "--mode", "reference"), "no epsilon holds there"),
        (("--dp-epsilon", "2", "--method", "local"), "releases nothing"),
        (("--dp-epsilon", "2", "--sampling-rate", "0.5"), "everyone takes part"),
        (("--dp-epsilon", "2", "--sampling", "poisson"), "between 0 and 1"),
        (("--dp-epsilon", "2", "--modalities", "none"), "need item features"),
        (("--dp-epsilon", "2", "--set", "dp.epsilom=3"), "no such setting"),
        (("--dp-epsilon", "2", "--trust", "local", "--sampling", "poisson", "--sampling-rate",
          "0.5"), "full participation only"),
    ],
)
def test_promises_that_cannot_be_kept_are_refused(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    done = cli("run", *arguments, "--out", str(tmp_path / "run"))
    assert done.returncode == 2, done.stderr
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "event"),
    [
        (("--method", "gfmfr", "--rounds", "2"), "Gaussian"),
        (("--method", "gfmfr", "--rounds", "2", "--set", "dp.subspace_rank=0"), "Gaussian"),
        (("--method", "backbone", "--backbone", "fedrap", "--rounds", "2", "--set",
          "dp.subspace_rank=0"), "Gaussian"),
        (("--method", "popularity"), "Gaussian"),
        (("--method", "popularity_profile", "--trust", "local"), "LocalGaussian"),
        (("--method", "taste", "--sampling", "fixed", "--sampling-rate", "0.5"),
         "FixedSizeSampledGaussian"),
        pytest.param(("--method", "gfmfr", "--rounds", "3", "--sampling", "poisson",
                      "--sampling-rate", "0.3"), "PoissonSampledGaussian", marks=pytest.mark.slow),
    ],
)
def test_methods_trusts_and_samplings_run_and_pass_their_audit(
    arguments: tuple[str, ...], event: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = cli("run", "--dp-epsilon", "2", *arguments, *BARE, "--json", "--out", str(out))
    assert done.returncode == 0, done.stderr
    privacy = json.loads(done.stdout)["privacy"]
    assert {r["event"] for r in privacy["releases"]} == {event}
    assert privacy["epsilon_spent"] <= 2.0 + 1e-9
    assert (privacy["epsilon_vs_server"] is not None) == (event == "LocalGaussian")
    if "Sampled" in event:
        assert privacy["epsilon_if_participation_is_seen"] > privacy["epsilon"]
    assert cli("audit", str(out), "--parts", "budget", "--quick").returncode == 0


def test_infinite_epsilon_is_the_method_without_the_stack(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    for extra in (("--dp-epsilon", "inf"), ()):
        out = tmp_path / f"run{len(records)}"
        done = cli("run", "--method", "group_statistics", "--set", "statistics.groups=4", *extra,
                   *BARE, "--json", "--out", str(out))
        assert done.returncode == 0, done.stderr
        records.append(json.loads(done.stdout))
        assert cli("audit", str(out), "--parts", "budget").returncode == 0
    assert records[0]["privacy"]["epsilon"] is None
    assert records[0]["privacy"]["releases"][0]["event"] == "NonPrivate"
    first, second = (r["metrics"]["test"]["ndcg@50"] for r in records)
    assert first == pytest.approx(second, rel=0.02)


class Killed(Exception):
    pass


def test_a_run_killed_after_its_charge_resumes_with_the_same_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve(None, {"dp.epsilon": 2.0, "statistics.groups": 4, "baselines": [],
                            "mix.on": False})
    out, save, calls = tmp_path / "run", Session.save, []

    def dies(session: Session, folder: Path, data_hash: str) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Killed  # charged and released, not yet checkpointed
        save(session, folder, data_hash)

    monkeypatch.setattr(Session, "save", dies)
    with pytest.raises(Killed):
        runs.start(config, out, lambda row: None)
    before = charges(out)
    assert len(before) == 1
    released = (out / "release.pt").read_bytes()
    monkeypatch.setattr(Session, "save", save)
    seen: list[bytes] = []
    record = runs.resume(
        out, lambda row: seen.append((out / "release.pt").read_bytes()))
    after = charges(out)
    assert after[0] == before[0] and len(after) == 2
    assert seen[0] == released, "the round that was charged is not drawn again"
    assert record["privacy"]["epsilon_spent"] == pytest.approx(2.0, abs=1e-6)


def test_a_resume_cannot_be_talked_into_spending_more(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli("run", "--dp-epsilon", "2", "--method", "gfmfr", "--rounds", "2", *BARE, "--out",
               str(out)).returncode == 0
    (out / "record.json").unlink()
    text = (out / "config.toml").read_text()
    (out / "config.toml").write_text(text.replace("rounds = 2\n", "rounds = 4\n"))
    done = cli("run", "--resume", str(out))
    assert done.returncode == 3
    assert "config.toml: rounds is 4, and the ledger commits to 2" in " ".join(done.stderr.split())


def test_simulation_noise_repeats_and_system_noise_does_not(tmp_path: Path) -> None:
    got = []
    for number, noise in enumerate(("simulation", "simulation", "csprng", "csprng")):
        done = cli("run", "--dp-epsilon", "2", "--noise", noise, *BARE, "--json", "--out",
                   str(tmp_path / str(number)))
        record = json.loads(done.stdout)
        got.append(record["metrics"])
        assert record["privacy"]["noise_source"].startswith(noise)
    assert got[0] == got[1] and got[2] != got[3]


SWEEP = """
seeds = [0, 1]
epsilons = [1, 4, inf]
[base]
baselines = ["random"]
dp.noise = "simulation"
[[variants]]
label = "taste"
method = "taste"
[[variants]]
label = "control"
method = "popularity_profile"
[[variants]]
label = "open"
epsilons = []
method = "taste"
"""


@pytest.mark.slow
def test_a_sweep_over_epsilon_becomes_one_page(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    swept = ("sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "runs"))
    done = cli(*swept)
    assert done.returncode == 0 and done.stderr.count("validation") == 14, done.stderr
    assert "validation" not in cli(*swept).stderr, "nothing is run twice"
    page, table = tmp_path / "page.html", tmp_path / "table.md"
    done = cli("report", str(tmp_path / "runs"), "--against", "control", "--html", str(page),
               "--scaling", str(tmp_path / "runs"), "--out", str(table))
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    tree = markup.parse(text)
    drawn = [node.attributes["id"] for node in tree.all("figure", class_="chart")]
    assert {"test-ndcg-50-over-epsilon", "relative-ndcg-50-over-users"} <= set(drawn)
    for word in ("taste, epsilon 1", "control, epsilon inf", "ledger ends with", "random"):
        assert word in text
    rows = {line.split("|")[1].strip(): line for line in table.read_text().splitlines()
            if line.startswith("| ")}
    assert "[" in rows["taste, epsilon 4"] and "[" not in rows["control, epsilon 4"]
    assert "[" in rows["open"]
    done = cli("report", str(tmp_path / "runs"), "--against", "nobody")
    assert done.returncode == 2 and "no run is labelled" in done.stderr


@pytest.mark.slow
def test_a_sweep_in_two_processes_gives_the_same_runs(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(
        SWEEP.replace("[1, 4, inf]", "[2]").replace("seeds = [0, 1]", "seeds = [0]"))
    metrics = []
    for count in ("1", "2"):
        out = tmp_path / count
        done = cli("sweep", str(tmp_path / "sweep.toml"), "--out", str(out), "--processes", count)
        assert done.returncode == 0, done.stderr
        metrics.append({p.parts[-3]: json.loads(p.read_text())["metrics"]
                        for p in out.rglob("record.json")})
    assert metrics[0] == metrics[1] and len(metrics[0]) == 3


def test_fewer_users_of_a_folder_and_more_of_the_planted_set(tmp_path: Path) -> None:
    lines = ["user_id,item_id,timestamp"]
    lines += [f"u{u},i{(u * 7 + n * n) % 29},{n}" for u in range(40) for n in range(8)
              if (u * 7 + n * n) % 29 not in {(u * 7 + m * m) % 29 for m in range(n)}]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n")
    done = cli("run", "--dataset", str(folder), "--method", "popularity", "--k-core", "0", *BARE,
               "--set", "max_users=15", "--json", "--out", str(tmp_path / "few"))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["dataset"]["users"] == 15
    assert "15 of 40 users" in record["protocol"]["split_note"]
    done = cli("run", "--dataset", "planted:500", "--method", "popularity", *BARE, "--json",
               "--out", str(tmp_path / "more"))
    assert json.loads(done.stdout)["dataset"]["users"] == 500
    done = cli("run", "--dataset", "planted:0", "--out", str(tmp_path / "none"))
    assert done.returncode == 2 and "at least 1" in done.stderr


def test_a_ledger_cut_short_stops_a_resume(tmp_path: Path) -> None:
    """What is left of a cut chain is a chain; the checkpoint knows which rounds were played."""
    out = tmp_path / "run"
    assert cli("run", "--dataset", "planted:60", "--dp-epsilon", "2", "--method", "gfmfr",
               "--rounds", "3", *BARE, "--set", "algorithm.opening.on=false", "--out",
               str(out)).returncode == 0
    (out / "record.json").unlink()
    rows = json.loads((out / "ledger.json").read_text())
    (out / "ledger.json").write_text(json.dumps(rows[:2]))
    done = cli("run", "--resume", str(out))
    assert done.returncode == 3 and "lacks round 1" in " ".join(done.stderr.split())


def test_noise_wider_than_its_table_runs_on_a_coarser_grid(tmp_path: Path) -> None:
    """Epsilon 0.5 with 50 users and one honest share in 48: at 4,096 steps it would be refused."""
    done = cli("run", "--dataset", "planted:50", "--dp-epsilon", "0.5", "--trust", "distributed",
               "--aggregation", "masked", *BARE, "--json", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["privacy"]["epsilon_vs_server"] <= 0.5
