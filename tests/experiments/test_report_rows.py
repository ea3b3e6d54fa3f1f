"""Which runs become which rows of a report: one an identity, and what may stand beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import privfedmm as pf
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.runs.trust import trusted_with
from tests.commands import BARE, cli
from tests.experiments.test_results_kept import SMALL, played, table, words

WITH_LINES = SMALL[:5]  # and its own baselines


def private(out: Path, epsilon: str, *more: str) -> dict[str, Any]:
    return played(out, "--dp-epsilon", epsilon, "--noise", "simulation", *more)


def test_two_epsilons_under_one_label_are_two_rows(tmp_path: Path) -> None:
    test = {epsilon: private(tmp_path / epsilon, epsilon, "--label", "ours")["metrics"]["test"]
            for epsilon in ("1", "8")}
    done = cli("report", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout)
    for epsilon, metrics in test.items():
        cells = rows[f"ours (epsilon {epsilon})"]
        assert cells[:2] == [epsilon, "1"] and f"{metrics['ndcg@50']:.4f}" in cells[5]
    done = cli("report", str(tmp_path), "--against", "ours")
    assert done.returncode == 2
    assert "name one of them: ours (epsilon 1), ours (epsilon 8)" in words(done.stderr)
    assert cli("report", str(tmp_path), "--against", "ours (epsilon 8)").returncode == 0


def test_seeds_of_one_run_are_one_row_and_columns_name_what_differs(tmp_path: Path) -> None:
    for seed in ("0", "1"):
        played(tmp_path / f"a{seed}", "--seed", seed, "--label", "a")
        played(tmp_path / f"b{seed}", "--seed", seed, "--label", "b", "--set",
               "statistics.ridge=5.0")
    rows = table(cli("report", str(tmp_path)).stdout)
    assert rows["model"][:4] == ["epsilon", "statistics.ridge", "seeds", "hr@10"]
    assert rows["a"][:3] == ["none", "3.0", "2"] and rows["b"][:3] == ["none", "5.0", "2"]


def test_baselines_threads_and_folders_make_no_other_run(tmp_path: Path) -> None:
    """They are beside a run; one who saves time on the second seed has one row all the same."""
    one = played(tmp_path / "0")
    more = ("--seed", "1", "--set", 'baselines=["random"]', "--set", "threads=1")
    done = cli(*WITH_LINES, *more, "--out", str(tmp_path / "1"), "--json")
    assert done.returncode == 0, done.stderr
    assert one["identity"] != json.loads(done.stdout)["identity"], "seeds are apart"
    rows = table(cli("report", str(tmp_path)).stdout)
    assert rows["popularity (none)"][1] == "2"


def test_the_same_run_twice_is_named(tmp_path: Path) -> None:
    first = played(tmp_path / "1")
    assert played(tmp_path / "2")["identity"] == first["identity"]
    done = cli("report", str(tmp_path))
    assert done.returncode == 0 and f"{tmp_path / '2'} is the run of {tmp_path / '1'} again" in (
        words(done.stdout))
    assert table(done.stdout)["popularity (none)"][1] == "1"


def test_records_of_earlier_versions_are_read_by_their_config(tmp_path: Path) -> None:
    private(tmp_path / "1", "1", "--label", "ours")
    private(tmp_path / "8", "8", "--label", "ours")
    new = cli("report", str(tmp_path)).stdout
    for file in tmp_path.rglob("record.json"):
        record = json.loads(file.read_text())
        for name in ("identity", "config", "trusted_with"):
            del record[name]
        file.write_text(json.dumps(record))
    assert cli("report", str(tmp_path)).stdout == new


def test_runs_of_different_protocols_are_refused(tmp_path: Path) -> None:
    played(tmp_path / "a", "--label", "ours")
    played(tmp_path / "b", "--label", "sampled", "--set", "evaluation.sampled_negatives=20")
    played(tmp_path / "c", "--label", "other", "--set", "evaluation.sampled_negatives=30")
    for pair in (("a", "b"), ("b", "c")):
        folders = [str(tmp_path / name) for name in pair]
        done = cli("report", *folders)
        assert done.returncode == 2 and not done.stdout
        assert "judged under different protocols" in words(done.stderr)
        assert "20 random items" in words(done.stderr)
        with pytest.raises(UserError, match="the runs differ in protocol"):
            pf.compare(folders)
    assert cli("report", str(tmp_path / "b")).returncode == 0


def test_a_result_below_what_needs_less_trust_is_marked(tmp_path: Path) -> None:
    """On planted data popularity is worse than the features that every device has anyway."""
    lines = ("--set", 'baselines=["public_features", "ease"]')
    done = cli(*WITH_LINES, *lines, "--label", "popular", "--out", str(tmp_path / "a"))
    assert done.returncode == 0, done.stderr
    said = "is below what needs less trust: public_features ("
    assert said in words(done.stderr)
    done = cli("report", str(tmp_path))
    assert table(done.stdout)["popular"][5].endswith("†") and said in done.stdout
    page = tmp_path / "page.html"
    assert cli("report", str(tmp_path), "--html", str(page)).returncode == 0
    assert "†" in page.read_text() and said in page.read_text()


def test_what_a_run_trusts_its_server_with() -> None:
    for flags, trusted in (
        ({}, "rows"), ({"method": "local"}, "nothing"), ({"aggregation": "masked"}, "sums"),
        ({"dp.epsilon": 2.0}, "noise"), ({"dp.epsilon": float("inf")}, "rows"),
    ):
        assert trusted_with(resolve(None, flags)) == trusted



def test_with_a_budget_more_users_are_in_training_and_the_same_ones_are_ranked(
    tmp_path: Path
) -> None:
    """Users outside the k-core are left out without a budget, and not ranked with one."""
    folder = tmp_path / "data"
    folder.mkdir()
    likes = [(f"u{u:02}", f"i{(u + 3 * n) % 20}", n) for u in range(40) for n in range(8)]
    likes += [("alone", f"rare{n}", n) for n in range(3)]
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(
        f"{user},{item},{1_600_000_000 + time}" for user, item, time in likes) + "\n")
    (folder / "items.csv").write_text("item_id\n" + "\n".join(
        sorted({item for _, item, _ in likes})) + "\n")
    records = {}
    for name, more in (("open", ()), ("private", ("--dp-epsilon", "2", "--noise", "simulation"))):
        done = cli("run", "--dataset", str(folder), "--method", "popularity", *BARE, "--label",
                   name, "--out", str(tmp_path / "runs" / name), "--json", *more)
        assert done.returncode == 0, done.stderr
        records[name] = json.loads(done.stdout)
    assert [records[name]["dataset"]["users"] for name in ("open", "private")] == [40, 41]
    done = cli("report", str(tmp_path / "runs"), "--against", "open")
    assert done.returncode == 0, done.stderr
    assert "41 users (40 of them ranked)" in done.stdout and "of 40 users" in done.stdout
    means = {name: r["metrics"]["test"]["ndcg@50"] for name, r in records.items()}
    # The paired difference is of the ranked users, as the means are.
    difference = means["private"] - means["open"]
    assert table(done.stdout)["private"][-1].startswith(f"{difference:+.4f} [")
    found = pf.compare([tmp_path / "runs" / "open", tmp_path / "runs" / "private"])
    assert found["difference"][1] == pytest.approx(difference)
