"""Reports of several data sets: one table across them, then each by itself."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import markup
from tests.commands import cli
from tests.experiments.test_results_kept import table, words

LINES = ("--set", 'baselines=["random", "popularity", "public_features"]')
PRIVATE = ("--dp-epsilon", "2", "--noise", "simulation")


def run(out: Path, dataset: str, method: str, *more: str) -> dict[str, Any]:
    done = cli("run", "--dataset", dataset, "--method", method, "--out", str(out), "--json", *more)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets with a line of two seeds, one of one seed under a budget, and one that is on
    the second alone; the baselines are computed beside the first line alone."""
    out = tmp_path_factory.mktemp("across") / "runs"
    for dataset in ("planted:60", "cinema"):
        for seed in ("0", "1"):
            run(out / dataset / f"popular{seed}", dataset, "popularity", "--seed", seed, "--label",
                "popular", *LINES)
        run(out / dataset / "taste", dataset, "taste", "--label", "taste, epsilon 2", *PRIVATE,
            "--set", "baselines=[]")
    run(out / "cinema" / "random", "cinema", "popularity_profile", "--label", "there alone",
        "--set", "baselines=[]")
    return out


def figures(folder: Path, dataset: str, label: str) -> list[float]:
    records = [json.loads(file.read_text()) for file in (folder / dataset).rglob("record.json")]
    return [r["metrics"]["test"]["ndcg@50"] for r in records if r["label"] == label]


def baseline(folder: Path, dataset: str, name: str) -> float:
    records = [json.loads(file.read_text()) for file in (folder / dataset).rglob("record.json")]
    return float(np.mean([r["baselines"][name]["test"]["ndcg@50"] for r in records
                          if name in r["baselines"]]))


def first_table(text: str) -> dict[str, list[str]]:
    return table(text.partition("\n## ")[2].partition("\n## ")[0])


def test_one_table_stands_before_the_pages_of_each(folder: Path) -> None:
    done = cli("report", str(folder))
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^#+ .*$", done.stdout, re.M) == [
        "# Results", "## Across data sets", "## By the worst data set", "## cinema", "## planted"]
    rows = first_table(done.stdout)
    assert rows["model"] == ["epsilon", "trust", "seeds", "cinema", "planted"]
    assert list(rows)[1:] == ["taste, epsilon 2", "popular", "there alone", "*random*",
                              "*popularity*", "*public_features*"]
    assert rows["taste, epsilon 2"][:3] == ["2", "central", "1"]
    assert rows["popular"][:3] == ["none", "", "2"]
    assert rows["there alone"][2] == "1" and rows["there alone"][4] == "-"
    for place, dataset in ((3, "cinema"), (4, "planted:60")):
        for label in ("taste, epsilon 2", "popular"):
            mean = np.mean(figures(folder, dataset, label))
            assert f"{mean:.4f}" in rows[label][place]
        assert rows["*public_features*"][place] == (
            f"{baseline(folder, dataset, 'public_features'):.4f}")
    # After it come the pages as they are of one data set.
    for dataset, name in (("cinema", "cinema"), ("planted:60", "planted")):
        alone = cli("report", str(folder / dataset)).stdout.partition("\n\n")[2].strip()
        assert alone in done.stdout.partition(f"## {name}\n\n")[2]


def test_the_best_line_of_a_column_is_bold_and_what_has_learnt_nothing_is_marked(
    folder: Path
) -> None:
    text = cli("report", str(folder)).stdout
    rows = first_table(text)
    labels = ("taste, epsilon 2", "popular", "there alone")
    for place, dataset in ((3, "cinema"), (4, "planted:60")):
        means = {label: np.mean(found) for label in labels
                 if (found := figures(folder, dataset, label))}
        floor = max(baseline(folder, dataset, name) for name in ("popularity", "public_features"))
        best = max(means, key=lambda label: means[label])
        assert {label for label in means if "**" in rows[label][place]} == {best}
        low = {label for label, mean in means.items() if mean < floor}
        assert low and {label for label in means if "‡" in rows[label][place]} == low
    assert not [name for name in rows if name[0] == "*" and "‡" in " ".join(rows[name])]
    assert not [name for name in rows if name[0] == "*" and "**" in " ".join(rows[name])]
    assert "- ‡ below popularity or public_features on that data set." in text


def test_a_line_is_marked_by_baselines_that_other_runs_computed(folder: Path) -> None:
    """They are the same for all runs on the data; to compute them once is enough."""
    done = cli("report", str(folder / "planted:60"))
    value = np.mean(figures(folder, "planted:60", "taste, epsilon 2"))
    assert value < baseline(folder, "planted:60", "public_features")
    assert "† taste, epsilon 2, with test ndcg@50" in done.stdout


def test_what_is_not_alike_is_said_below_the_table(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "runs")
    run(tmp_path / "runs" / "more", "cinema", "popularity", "--seed", "2", "--label", "popular",
        "--set", "baselines=[]")
    shutil.rmtree(tmp_path / "runs" / "planted:60" / "taste")
    run(tmp_path / "runs" / "planted:60" / "other", "planted:60", "taste", "--label",
        "taste, epsilon 2", *PRIVATE, "--set", "baselines=[]", "--set", "statistics.ridge=5.0")
    bad = tmp_path / "runs" / "bad"
    shutil.copytree(tmp_path / "runs" / "more", bad)
    (bad / "record.json").write_text("{")
    done = cli("report", str(tmp_path / "runs"))
    assert done.returncode == 2 and str(bad) in words(done.stderr)
    assert first_table(done.stdout)["popular"][2] == "3, 2"
    notes = done.stdout.partition("\n## cinema")[0]
    assert "- taste, epsilon 2 is not the same on all data sets: " in notes
    assert "statistics.ridge 3.0 on cinema, 5.0 on planted" in notes
    assert f"- Left out: {bad / 'record.json'} is damaged" in notes
    assert "different protocols" not in notes and "no run computed" not in notes


def test_protocols_and_missing_floors_are_said_for_each_data_set(
    folder: Path, tmp_path: Path
) -> None:
    run(tmp_path / "one", "cinema", "popularity", "--set", 'baselines=["popularity"]', "--set",
        "evaluation.sampled_negatives=30")
    done = cli("report", str(folder / "planted:60"), str(tmp_path / "one"))
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("\n## planted")[0]
    assert "Data sets are judged under different protocols." in notes
    assert re.search(r"^- planted, 60 users, .*; full ranking, ", notes, re.M)
    assert re.search(r"^- cinema, 400 users, .*; sampled-30 ranking, .*30 random items", notes,
                     re.M)
    assert "On cinema no run computed public_features: nothing is marked by it." in notes
    # On one data set figures of two protocols are refused, beside another data set as well.
    done = cli("report", str(folder), str(tmp_path / "one"))
    assert done.returncode == 2 and "judged under different protocols" in words(done.stderr)


def test_other_data_of_the_same_name_are_refused(folder: Path, tmp_path: Path) -> None:
    run(tmp_path / "larger", "planted:80", "popularity", "--set", "baselines=[]")
    for option in ((), ("--html", str(tmp_path / "page.html"))):
        done = cli("report", str(folder), str(tmp_path / "larger"), *option)
        assert done.returncode == 2 and not done.stdout
        assert "different data sets that are all called planted" in words(done.stderr)
        assert "60 users" in words(done.stderr) and "80 users" in words(done.stderr)
        assert "report one at a time" in words(done.stderr)


def test_a_rival_of_one_data_set_is_compared_there(folder: Path) -> None:
    done = cli("report", str(folder), "--against", "there alone")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("against there alone (95% interval)") == 1
    done = cli("report", str(folder), "--against", "nobody")
    assert done.returncode == 2 and "no run is labelled 'nobody'" in words(done.stderr)


def test_an_audit_stands_with_the_data_of_its_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "runs")
    audited, page = tmp_path / "runs" / "planted:60" / "taste", tmp_path / "page.html"
    assert cli("audit", str(audited), "--parts", "budget").returncode == 0
    done = cli("report", str(tmp_path / "runs"))
    assert re.findall(r"^## .*$", done.stdout, re.M)[2:] == [
        "## cinema", "## planted", "## Audit: taste"]
    assert cli("report", str(tmp_path / "runs"), "--html", str(page), "--gallery",
               "0").returncode == 0
    titles = [section.one("h2").text() for section in markup.parse(page.read_text()).all("section")]
    assert [title for title in titles if "Audits" in title] == ["planted: Audits #"]
    # Of a run whose record is damaged it is not known which data it is of.
    (audited / "record.json").write_text("{")
    done = cli("report", str(tmp_path / "runs"), "--html", str(page), "--gallery", "0")
    assert done.returncode == 2
    titles = [section.one("h2").text() for section in markup.parse(page.read_text()).all("section")]
    assert titles[-1] == "Audits #"


def test_the_page_has_the_same_table_and_sections_of_each(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert cli("report", str(folder), "--html", str(page), "--gallery", "0").returncode == 0
    tree = markup.parse(page.read_text())
    ids = [node.attributes["id"] for node in tree.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    titles = [section.one("h2").text().removesuffix(" #") for section in tree.all("section")]
    assert titles[0] == "Across data sets"
    assert {"cinema: Models", "planted: Models", "cinema: Summary", "planted: Costs"} <= set(titles)
    rows = first_table(cli("report", str(folder)).stdout)
    shown = {row.one("th").text(): row.text() for row in tree.one(id="across-table").one(
        "tbody").all("tr")}
    for name, cells in rows.items():
        if name == "model":
            continue
        text = next(t for n, t in shown.items() if n.startswith(name.strip("*")))
        assert all(figure in text for cell in cells[3:] for figure in re.findall(r"\d\.\d+", cell))


def test_lines_are_judged_by_the_data_set_where_they_are_worst(
    folder: Path, tmp_path: Path
) -> None:
    text = cli("report", str(folder)).stdout
    rows = table(text.partition("## By the worst data set\n")[2].partition("\n## ")[0])
    assert rows.pop("model")[-1] == "worst"
    assert set(rows) == {"popular", "taste, epsilon 2"}, "what is not everywhere is not judged"
    records = [json.loads(file.read_text()) for file in folder.rglob("record.json")]
    shares: dict[str, list[float]] = {}
    for name in ("planted", "cinema"):
        here = [r for r in records if r["dataset"]["name"] == name]
        means = {label: np.mean([r["metrics"]["validation"]["ndcg@50"] for r in here
                                 if r["label"] == label]) for label in {r["label"] for r in here}}
        lines = {line: np.mean([r["baselines"][line]["validation"]["ndcg@50"] for r in here
                                if line in r["baselines"]])
                 for line in ("random", "popularity", "public_features")}
        best = max(*means.values(), *lines.values())
        for label in rows:
            shares.setdefault(label, []).append(float(means[label] / best))
    for label, cells in rows.items():
        assert float(cells[-1].rstrip("%")) == pytest.approx(100 * min(shares[label]), abs=0.051)
    order = [min(shares[label]) for label in rows]
    assert order == sorted(order, reverse=True)
    page = tmp_path / "page.html"
    assert cli("report", str(folder), "--html", str(page)).returncode == 0
    assert "By the worst data set" in page.read_text()
