"""The README's table of results is the one of the page that `privfedmm report` wrote."""

from __future__ import annotations

import re

import pytest

from tests.commands import cli
from tests.experiments.test_results_kept import table
from tests.headline import END, README, START, HeadlineError, block, page_text, shown


def results(readme: str) -> str:
    return readme.partition("\n## Results\n")[2].partition("\n## ")[0]


def test_the_table_of_the_readme_is_that_of_the_page() -> None:
    readme = README.read_text(encoding="utf-8")
    assert shown(readme) == block(page_text()), "README.md: run `make headline`"


def test_the_results_of_the_readme_have_no_other_table() -> None:
    readme = README.read_text(encoding="utf-8")
    section = results(readme)
    assert START in section and END in section
    before, after = section.partition(START)[0], section.partition(END)[2]
    assert not [line for line in (before + after).splitlines() if line.lstrip().startswith("|")]


def test_every_figure_of_the_results_is_in_the_table() -> None:
    readme = README.read_text(encoding="utf-8")
    made, section = shown(readme), results(readme)
    there = {f"{float(figure):.3f}"[1:] for figure in re.findall(r"\b0\.\d{4}\b", made)}
    told = re.findall(r"(?<![\d.])\.\d{3}\b", section.replace(made, ""))
    assert told and not [figure for figure in told if figure not in there]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of two data sets, as the report writes it."""
    folder = tmp_path_factory.mktemp("headline")
    for dataset in ("cinema", "planted:60"):
        done = cli("run", "--dataset", dataset, "--method", "popularity", "--label", "popular, one",
                   "--set", 'baselines=["random", "popularity", "public_features"]', "--out",
                   str(folder / dataset))
        assert done.returncode == 0, done.stderr
    done = cli("report", str(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_block_has_the_chosen_rows_and_columns_in_their_order(page: str) -> None:
    made = block(page, ("*random*", "popular, one"), ("model", "planted", "cinema")).splitlines()
    lines = table(page.partition("\n## By the worst")[0])
    assert made[:3] == [START, "| model | planted | cinema |", "|---|---|---|"]
    for line, name in zip(made[3:5], ("*random*", "popular, one"), strict=True):
        cinema, planted = lines[name][3:5]
        assert line == f"| {name} | {planted} | {cinema} |" and "0." in planted
    assert made[5] == "" and made[6].startswith("Test ndcg@50 on each data set, mean over seeds")
    assert "‡ below popularity or public_features" in made[6] and made[7:] == [END]
    assert "docs/results/headline.md" in made[6]


def test_a_block_that_was_edited_or_is_of_other_runs_is_seen(page: str) -> None:
    chosen = (("popular, one",), ("model", "planted", "cinema"))
    made = block(page, *chosen)
    readme = f"# A\n\n{made}\n\nmore\n"
    assert shown(readme) == made
    figure = made.splitlines()[3].split(" | ")[1][:6]
    assert shown(readme.replace(figure, "0.9999")) != made
    assert block(page.replace(figure, "0.9999"), *chosen) != made


def test_what_is_not_there_is_named(page: str) -> None:
    with pytest.raises(HeadlineError, match="no column 'ku', row 'gone'"):
        block(page, ("gone", "popular, one"), ("model", "ku"))
    with pytest.raises(HeadlineError, match="has no section"):
        block("# Results\n\n| model |\n")
    for text in ("", START, f"{END}", f"{START}\n{START}\n{END}"):
        with pytest.raises(HeadlineError, match="needs a line"):
            shown(text)
    with pytest.raises(HeadlineError, match="choose all columns"):
        block(page.replace("| popular, one | none |  | 1 |", "| popular, one | none |  | 1, 2 |"),
              ("popular, one",), ("model", "cinema"))
