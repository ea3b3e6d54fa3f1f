"""A private run is bound to its promise: what is changed between rounds, or copied, is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import privfedmm as pf
from privacy import Entry, Ledger
from privfedmm.base.errors import PRIVACY_VIOLATION, UserError
from privfedmm.config import resolve
from privfedmm.runs import binding
from privfedmm.runs import run as runs
from tests.commands import cli
from tests.ledgers import charges, links

FLAGS = {"dataset": "planted:60", "method": "gfmfr", "rounds": 3, "dp.epsilon": 2.0,
         "algorithm.opening.on": False,
         "dp.subspace_rank": 4, "baselines": []}


class Killed(Exception):
    """The process ends here."""


def _stop(row: dict[str, Any]) -> None:
    raise Killed


def _begun(out: Path, **flags: Any) -> Path:
    """A run of which one round was played."""
    with pytest.raises(Killed):
        runs.start(resolve(None, {**FLAGS, **flags}), out, _stop)
    return out


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _begun(tmp_path_factory.mktemp("bound") / "run")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    runs.start(resolve(None, {**FLAGS, "rounds": 2}), out, lambda row: None)
    return out


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "run"))


def _put(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "ledger.json").write_text(json.dumps(rows), encoding="utf-8")


def _replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _rechained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chain over changed entries, by somebody without the key: digests need none."""
    out, previous = [], rows[0]["previous"] if rows else ""
    for row in rows:
        row = {**row, "previous": previous}
        if "kind" not in row:
            row["digest"] = Entry(**row).true_digest()
        out.append(row)
        previous = row["digest"]
    return out


def _unbound(folder: Path) -> None:
    """The folder as an earlier version would have left it: no commitment, key or name."""
    rows = [{**row, "signature": None} for row in charges(folder)]
    rows[0]["previous"] = "0" * 64
    rows = [Entry(**row).to_json() for row in _rechained(rows)]
    Ledger.from_json(rows)
    _put(folder, rows)
    (folder / "run.key").unlink()
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    del record["privacy"]["run"]
    record["privacy"]["ledger_digest"] = rows[-1]["digest"]
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


def test_a_run_begins_with_a_signed_commitment(begun: Path) -> None:
    first, *rest = links(begun)
    assert first["kind"] == "commitment" and first["body"]["config"]["dp"]["epsilon"] == 2.0
    assert first["body"]["statement"]["epsilon"] <= 2.0
    assert len(rest) == 1 and rest[0]["previous"] == first["digest"] and rest[0]["signature"]
    assert (begun / "run.key").stat().st_mode & 0o077 == 0
    # The ledger may be published, so a guess of the data set must not be confirmed by it.
    data = torch.load(begun / "checkpoint.pt", weights_only=True)["data"]
    assert data not in json.dumps(links(begun))
    assert hashlib.sha256(data.encode()).hexdigest() not in json.dumps(links(begun))


def test_an_untouched_run_goes_on(begun: Path, tmp_path: Path) -> None:
    run = _begun(tmp_path / "run")
    assert runs.resume(run, lambda row: None)["rounds_run"] == 3
    done = cli("audit", str(run), "--parts", "budget", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bound"].startswith("to config, statement and data")


EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "epsilon of the config": (
        lambda f: _replaced(f / "config.toml", "epsilon = 2.0", "epsilon = 50.0"),
        "config.toml: dp.epsilon is 50.0, and the ledger commits to 2.0"),
    "noise of the config": (
        lambda f: _replaced(f / "config.toml", '"csprng"', '"simulation"'),
        'config.toml: dp.noise is "simulation", and the ledger commits to "csprng"'),
    "the whole section": (
        lambda f: (f / "config.toml").write_text(
            (f / "config.toml").read_text(encoding="utf-8").split("[dp]")[0], encoding="utf-8"),
        "config.toml: dp.epsilon is not there"),
    "statement": (
        lambda f: _replaced(f / "statement.json", '"unit": "user"', '"unit": "interaction"'),
        'statement.json: unit is "interaction", and the ledger commits to "user"'),
    "entry edited": (
        lambda f: _put(f, _rechained([links(f)[0], {**links(f)[1], "cohort": 59}])),
        "is not signed by the key"),
    "entry edited, chain left": (
        lambda f: _put(f, [links(f)[0], {**links(f)[1], "cohort": 59}]),
        "does not follow from the entry before"),
    "entry dropped": (
        lambda f: _put(f, links(f)[:1]), "entries were removed"),
    "commitment dropped": (
        lambda f: _put(f, [
            Entry(**row).to_json() for row in _rechained(
                [{**charges(f)[0], "previous": "0" * 64, "signature": None}])]),
        "it was removed"),
    "commitment edited": (
        lambda f: _put(f, _rechained([
            {**links(f)[0], "body": {**links(f)[0]["body"], "data": "0" * 64}}, links(f)[1]])),
        "does not follow from the entry before"),
    "key lost": (lambda f: (f / "run.key").unlink(), "run.key is not there"),
    "key of another run": (
        lambda f: (f / "run.key").write_bytes(bytes(range(32))),
        "run.key is not the key that signs the ledger"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_was_changed_after_the_first_round_is_named(edit: str, run: Path) -> None:
    change, sentence = EDITS[edit]
    change(run)
    with pytest.raises(UserError) as caught:
        runs.resume(run, lambda row: None)
    assert sentence in str(caught.value) and caught.value.code == PRIVACY_VIOLATION


def test_the_record_of_a_changed_folder_is_not_handed_back(finished: Path, tmp_path: Path) -> None:
    """It was, with exit code 0, where the run was finished."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert runs.resume(run, lambda row: None)["rounds_run"]
    change, sentence = EDITS["epsilon of the config"]
    change(run)
    with pytest.raises(UserError) as caught:
        runs.resume(run, lambda row: None)
    assert sentence in str(caught.value) and caught.value.code == PRIVACY_VIOLATION


def test_entries_in_another_order_are_refused(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    first, one, two = links(run)
    _put(run, _rechained([first, two, one]))
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    record["privacy"]["ledger_digest"] = links(run)[-1]["digest"]
    (run / "record.json").write_text(json.dumps(record), encoding="utf-8")
    done = cli("audit", str(run), "--parts", "budget")
    assert done.returncode == 3 and "is not signed by the key" in " ".join(done.stderr.split())


@pytest.mark.parametrize("edit", ["epsilon of the config", "statement", "commitment dropped"])
def test_an_audit_names_it_too(edit: str, finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    change, sentence = EDITS[edit]
    change(run)
    done = cli("audit", str(run), "--parts", "budget")
    assert done.returncode == 3 and sentence in " ".join(done.stderr.split())
    faults = pf.open_run(run).audit(parts=("budget",)).faults
    assert sentence in "; ".join(faults)


def _shop(folder: Path) -> Path:
    folder.mkdir()
    rows = [f"u{u},i{(u + k) % 12},{k}" for u in range(30) for k in range(6)]
    (folder / "interactions.csv").write_text(
        "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "items.csv").write_text(
        "item_id\n" + "\n".join(f"i{i}" for i in range(12)) + "\n", encoding="utf-8")
    return folder


def test_changed_data_are_refused(tmp_path: Path) -> None:
    """The checkpoint names the data as well, and whoever changes them can change that."""
    shop = _shop(tmp_path / "shop")
    flags = {"dataset": str(shop), "method": "popularity", "k_core": 0, "dp.epsilon": 2.0,
             "baselines": []}
    out = tmp_path / "run"
    runs.start(resolve(None, flags), out, lambda row: None)
    with (shop / "interactions.csv").open("a", encoding="utf-8") as rows:
        rows.write("u1,i11,9\n")
    done = cli("audit", str(out), "--parts", "budget")
    assert done.returncode == 3 and "the data set has changed" in " ".join(done.stderr.split())
    (out / "record.json").unlink()
    saved = torch.load(out / "checkpoint.pt", weights_only=True)
    torch.save({**saved, "data": runs.load_data(resolve(None, flags)).sha256},
               out / "checkpoint.pt")
    with pytest.raises(UserError, match="the data set, or its split, has changed"):
        runs.resume(out, lambda row: None)


def test_of_two_copies_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = _begun(tmp_path / "one")
    other, third = (shutil.copytree(one, tmp_path / name) for name in ("other", "third"))
    runs.resume(one, lambda row: None)
    with pytest.raises(UserError, match=r"continued in .*one, to 4 entries") as caught:
        runs.resume(other, lambda row: None)
    assert caught.value.code == PRIVACY_VIOLATION
    # What is refused is an attack: where nothing is remembered, one round has two noises.
    monkeypatch.setenv("PRIVFEDMM_STATE", str(tmp_path / "elsewhere"))
    runs.resume(third, lambda row: None)
    sums = [torch.load(f / "release.pt", weights_only=True)["sums"]["item_update"]
            for f in (one, third)]
    assert not torch.equal(*sums)


def test_a_copy_may_be_read_and_goes_on_until_another_does(tmp_path: Path) -> None:
    one = _begun(tmp_path / "one")
    moved = one.rename(tmp_path / "moved")
    assert runs.resume(moved, lambda row: None)["rounds_run"] == 3


def test_simulated_noise_may_be_continued_twice(tmp_path: Path) -> None:
    one = _begun(tmp_path / "one", **{"dp.noise": "simulation"})
    other = Path(shutil.copytree(one, tmp_path / "other"))
    records = [runs.resume(folder, lambda row: None) for folder in (one, other)]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["privacy"] == records[1]["privacy"], "its ledger repeats as well"


def test_changed_code_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = _begun(tmp_path / "run")
    monkeypatch.setattr(binding, "code_digest", lambda: "f" * 64)
    done = cli("run", "--resume", str(out))
    assert done.returncode == PRIVACY_VIOLATION
    assert "--accept-changed-code" in done.stderr and len(charges(out)) == 1
    done = cli("run", "--resume", str(out), "--accept-changed-code")
    assert done.returncode == 0, done.stderr
    assert [row.get("kind") for row in links(out)] == [
        "commitment", None, "continued", None, None]
    audited = cli("audit", str(out), "--parts", "budget", "--json")
    assert audited.returncode == 0, audited.stderr
    assert "went on under changed code 1 times" in json.loads(audited.stdout)["bound"]
    done = cli("run", "--accept-changed-code", "--out", str(tmp_path / "x"))
    assert done.returncode == 2 and "give --resume" in done.stderr


def test_a_ledger_from_before_is_read_and_not_claimed(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    _unbound(run)
    done = cli("audit", str(run), "--parts", "budget", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bound"].startswith("not bound: made before")
    (run / "record.json").unlink()
    with pytest.raises(UserError, match="does not begin with what the run promised"):
        runs.resume(run, lambda row: None)


def test_the_users_own_state_is_left_alone(state: Path, begun: Path) -> None:
    names = [place.name for place in (state / "runs").iterdir()]
    assert f"{links(begun)[0]['body']['run']}.json" in names
