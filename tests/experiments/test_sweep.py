"""`privfedmm sweep`: plans by name, and the standings that it ends with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import click
import pytest
import typer

from experiments.cli import app
from experiments.cli.choices import SweepFile, shipped
from privfedmm.runs.sweep import Instead, jobs
from tests.commands import cli
from tests.experiments.test_results_kept import table, words

PLAN = """
seeds = [0, 1]
[base]
dataset = "planted:60"
baselines = []
dp.noise = "simulation"
[[variants]]
label = "popular"
method = "popularity"
baselines = ["random", "public_features"]
[[variants]]
label = "taste"
method = "taste"
epsilons = [2, 8]
"""


@pytest.mark.parametrize("name", shipped())
def test_every_plan_that_ships_can_be_read(name: str, tmp_path: Path) -> None:
    found = list(jobs(shipped()[name], tmp_path, Instead("planted:60")))
    assert found and len({job.folder for job in found}) == len(found)
    assert {job.config.dataset for job in found} == {"planted:60"}


def test_what_the_headline_is(tmp_path: Path) -> None:
    found = list(jobs(shipped()["headline"], tmp_path))
    seeds: dict[str, list[int]] = {}
    for job in found:
        seeds.setdefault(job.config.label, []).append(job.config.seed)
    five = [0, 1, 2, 3, 4]
    assert seeds == {
        "gfmfr": five, "gfmfr, masked": [0, 1, 2], "backbone": five,
        **{f"{label}, epsilon {epsilon}": five
           for label, epsilons in (("group_statistics", (2, 8)),
                                   ("group_statistics, distributed", (2,)),
                                   ("gfmfr, private", (2, 8))) for epsilon in epsilons}}
    assert {job.config.dataset for job in found} == {"ml-100k"}
    # Every line of the comparison is computed, and by one variant.
    assert {job.config.label for job in found if job.config.baselines} == {"gfmfr"}
    assert set(found[0].config.baselines) == {"random", "popularity", "public_features",
                                              "popularity_profile", "ease", "slit", "ials"}
    for job in found:
        private = "epsilon" in job.config.label
        assert (job.config.dp is not None) == private
        assert job.config.dp is None or (job.config.dp.noise, job.config.dp.delta) == (
            "simulation", 1e-5)
    trusts = {job.config.label: job.config.dp.trust for job in found if job.config.dp}
    assert [label for label, trust in trusts.items() if trust == "distributed"] == [
        "group_statistics, distributed, epsilon 2"]


def test_some_variants_and_other_seeds(tmp_path: Path) -> None:
    plan = shipped()["headline"]
    chosen = Instead(labels=["backbone", "group_statistics"], seeds=[7])
    found = [(job.config.label, job.config.seed) for job in jobs(plan, tmp_path, chosen)]
    assert found == [("backbone", 7), ("group_statistics, epsilon 2", 7),
                     ("group_statistics, epsilon 8", 7)]
    whole = {job.folder: job.config for job in jobs(plan, tmp_path)}
    for job in jobs(plan, tmp_path, Instead(labels=["backbone"], seeds=[3])):
        assert whole[job.folder] == job.config  # a part of the sweep, not another one
    refused = cli("sweep", "headline", "--only", "gfmfr", "--only", "nobody")
    assert refused.returncode == 2 and "no variant 'nobody'; it has gfmfr;" in refused.stderr
    refused = cli("sweep", "headline", "--seeds", "1,x")
    assert refused.returncode == 2 and "write whole numbers" in refused.stderr


def test_an_unknown_name_is_refused_with_those_that_ship() -> None:
    done = cli("sweep", "nope")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "there is no file nope, and no config of that name" in done.stderr
    assert {"headline", "dp_ml100k_posters"} <= shipped().keys()
    assert all(name in done.stderr for name in shipped())


def test_a_name_is_a_plan_where_there_is_no_such_file(tmp_path: Path) -> None:
    plan, out = shipped()["headline"], tmp_path / "runs"
    (tmp_path / "headline").mkdir()  # a folder is no plan
    done = cli("sweep", "headline", "--dataset", str(tmp_path / "nowhere"), "--out", str(out),
               cwd=tmp_path)
    count = len(list(jobs(plan, out)))
    assert done.returncode == 2 and f"{count} runs did not finish" in words(done.stderr)
    assert "gfmfr seed 0" in done.stderr and str(tmp_path / "nowhere") in words(done.stderr)
    (tmp_path / "headline").rmdir()
    (tmp_path / "headline").write_text("seeds = []\n")
    done = cli("sweep", "headline", cwd=tmp_path)
    assert done.returncode == 2 and "headline: needs seeds" in words(done.stderr)


def test_names_are_completed() -> None:
    command = cast(click.Group, typer.main.get_command(app)).commands["sweep"]
    kind = next(one.type for one in command.params if one.name == "file")
    assert isinstance(kind, SweepFile)
    context = click.Context(command)

    def offered(typed: str) -> list[str]:
        return [item.value for item in kind.shell_complete(context, command.params[0], typed)]

    assert offered("head") == ["headline"] and offered("x") == []
    assert offered("") == list(shipped())


def test_it_ends_with_the_figures_of_the_report(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.toml", tmp_path / "runs"
    plan.write_text(PLAN)
    done = cli("sweep", str(plan), "--out", str(out))
    assert done.returncode == 0 and done.stdout == "", done.stderr
    rows = table(cli("report", str(out)).stdout)
    place = rows["model"].index("ndcg@50")
    shown = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in (
        line.strip("│").split("│") for line in done.stderr.splitlines() if line.startswith("│"))}
    assert shown.keys() == {"popular", "taste, epsilon 2", "taste, epsilon 8", "random (baseline)",
                            "public_features (baseline)"}
    for name, (epsilon, seeds, figure) in shown.items():
        label = name.removesuffix(" (baseline)")
        theirs = rows[label if label == name else f"*{label}*"]
        assert figure == theirs[place].replace(" ± 0.0000", "") and seeds == "2"
        assert label != name or epsilon == theirs[0]
    assert any(figure.endswith("†") for *_, figure in shown.values())
    means = [float(figure.split()[0]) for *_, figure in shown.values()]
    assert means == sorted(means, reverse=True)
    assert "†: below a baseline that needs less trust" in words(done.stderr)
    assert f"privfedmm report {out}" in words(done.stderr)
    assert done.stderr.splitlines()[-1].startswith("6 runs played, 0 were there; wrote")
    # The standings are there again where nothing is left to play, and not where they are unwanted.
    again = cli("sweep", str(plan), "--out", str(out))
    assert re.findall("│.*│", again.stderr) == re.findall("│.*│", done.stderr)
    assert cli("sweep", str(plan), "--out", str(out), "--quiet").stderr == ""


def test_it_shows_what_there_is_where_runs_failed(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.partition("[[variants]]\nlabel = \"taste\"")[0]
                    + f"[[variants]]\nlabel = 'away'\ndataset = '{tmp_path / 'nowhere'}'\n")
    done = cli("sweep", str(plan), "--out", str(tmp_path / "runs"))
    assert done.returncode == 2 and "│ popular " in done.stderr
    assert done.stderr.splitlines()[-1].startswith("privfedmm: 2 runs did not finish")


def test_several_data_sets_have_a_table_each_and_protocols_none_together(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    start = PLAN.partition("[[variants]]\nlabel = \"taste\"")[0]
    plan.write_text(start + "[[variants]]\nlabel = 'more'\nmethod = 'popularity'\n"
                    "dataset = 'planted:80'\n")
    done = cli("sweep", str(plan), "--out", str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert "on planted, 60 users" in done.stderr and "on planted, 80 users" in done.stderr
    plan.write_text(start + "[[variants]]\nlabel = 'few'\nmethod = 'popularity'\n"
                    "evaluation.sampled_negatives = 20\n")
    done = cli("sweep", str(plan), "--out", str(tmp_path / "ways"))
    assert done.returncode == 0, done.stderr
    assert "no table of all runs: report: the runs were judged under different protocols" in (
        words(done.stderr))


@pytest.mark.slow
def test_the_headline_is_played_where_there_are_no_times(tmp_path: Path) -> None:
    """One seed and two rounds of it on generated data, which have no times: the baseline that needs
    them is left out."""
    plan = tmp_path / "headline.toml"
    text = shipped()["headline"].read_text(encoding="utf-8")
    text = re.sub(r"^seeds = .*$", "seeds = [0]", text, flags=re.M)
    # The others have as many rounds as they have releases.
    text = re.sub(r'^method = "(gfmfr|backbone)"$', r"\g<0>\nrounds = 2", text, flags=re.M)
    plan.write_text(text)
    done = cli("sweep", str(plan), "--dataset", "planted:60", "--out", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    rows = table(cli("report", str(tmp_path / "runs")).stdout)
    assert {"gfmfr", "gfmfr, masked", "backbone", "gfmfr, private, epsilon 8", "*ease*",
            "*ials*"} <= rows.keys()
    assert "*slit*" not in rows
