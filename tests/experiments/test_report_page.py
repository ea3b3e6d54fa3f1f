"""The page of `privfedmm report --html`, read as HTML: whole, alone, and true to the records."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from experiments.report.page import SCRIPTS, page
from privfedmm.base.errors import UserError
from privfedmm.evaluation import gains, paired_interval
from tests import markup, report_runs
from tests.markup import Node

pytestmark = pytest.mark.slow  # all stand on the same runs, which take long to make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "runs"
    report_runs.make(out)
    return out


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return page([folder], "bare", "Results & <more>", [folder], None)


@pytest.fixture(scope="module")
def tree(text: str) -> Node:
    return markup.parse(text)


def _records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    out: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.rglob("record.json")):
        record = json.loads(file.read_text())
        if file.parts[-3] != "ways":  # a comparison's own runs have no label of ours
            out.setdefault(record["label"], []).append(record | {"folder": file.parent})
    return out


def _figure(tree: Node, title: str) -> tuple[Node, dict[str, Any]]:
    (found,) = [node for node in tree.all("figure", class_="chart")
                if node.one("h3").text() == title]
    data: dict[str, Any] = json.loads("".join(map(str, found.one("script").children)))
    return found, data


def _decoded(link: Node) -> str:
    kind, _, data = link.attributes["href"].partition(";base64,")
    assert kind.startswith("data:text/")
    return base64.b64decode(unquote(data)).decode()


def _csv(node: Node) -> list[dict[str, str]]:
    (link,) = [a for a in node.all("a") if a.attributes.get("download", "").endswith(".csv")]
    return list(csv.DictReader(io.StringIO(_decoded(link))))


def _block(tree: Node, anchor: str) -> Node:
    return tree.one(id=anchor)


def test_every_link_and_label_leads_somewhere(tree: Node) -> None:
    ids = [node.attributes["id"] for node in tree.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    links = [a.attributes["href"] for a in tree.all("a") if "download" not in a.attributes]
    assert links and all(link[0] == "#" and link[1:] in ids for link in links)
    for node in tree.all():
        for name in ("aria-labelledby", "aria-describedby"):
            assert node.attributes.get(name, ids[0]) in ids
    sections = [node.attributes["id"] for node in tree.all("section")]
    contents = [a.attributes["href"][1:] for a in tree.one("nav").all("a")]
    assert [name for name in contents if name in sections] == sections
    assert {"summary", "privacy", "models", "training", "costs", "audits", "gallery", "users",
            "runs"} <= set(sections)
    for level in ("h2", "h3"):
        assert all(node.text() for node in tree.all(level))


def test_it_loads_nothing_and_runs_only_its_own_scripts(tree: Node, text: str) -> None:
    for node in tree.all():
        for name, value in node.attributes.items():
            assert not name.startswith("on"), f"{node.tag} {name}"
            if name in ("src", "href", "action", "srcset", "poster"):
                assert value.startswith(("#", "data:")), value
    assert "url(" not in "".join(node.text() for node in tree.all("style"))
    (policy,) = [node.attributes["content"] for node in tree.all("meta")
                 if node.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ") and "unsafe-inline' 'sha" not in policy
    running = [node for node in tree.all("script") if "type" not in node.attributes]
    assert len(running) == len(SCRIPTS)
    for node in running:
        body = "".join(map(str, node.children))
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert len(text.encode()) < 2_000_000


def test_labels_cannot_become_markup(tree: Node) -> None:
    assert not tree.all("b") and not tree.all("more")
    assert tree.one("h1").text() == "Results & <more>"
    assert "whole <b>" in [node.text() for node in tree.all("th")]


def test_every_figure_can_be_read_without_its_picture_and_taken_away(tree: Node) -> None:
    figures = tree.all("figure", class_="chart")
    assert {node.attributes["data-kind"] for node in figures} == {"lines", "bars", "heat"}
    for node in figures:
        plot, anchor = node.one(class_="plot"), node.attributes["id"]
        assert len(plot.attributes["aria-label"]) > 40 and plot.attributes["role"] == "group"
        assert len(node.one("figcaption").text()) > 20
        assert node.one("details", class_="data").one("table").one("caption").text()
        assert {b.attributes["data-save"] for b in node.all("button")} == {"svg", "png"}
        files = {a.attributes["download"]: _decoded(a) for a in node.all("a")
                 if "download" in a.attributes}
        assert set(files) == {f"{anchor}.csv", f"{anchor}.tex"}
        (latex,) = [found for name, found in files.items() if name.endswith(".tex")]
        assert latex.count(r"\begin{tabular}") == latex.count(r"\end{table}") == 1
        # Every point of the picture says in words what it is.
        data = json.loads("".join(map(str, node.one("script").children)))
        points = [p for s in data.get("series", []) for p in s["points"]]
        assert all(p["says"] for p in [*points, *data.get("bars", []), *data.get("cells", [])])


def test_every_table_is_captioned_headed_and_can_be_taken_away(tree: Node) -> None:
    tables = tree.all("table")
    assert len(tables) > 12 and not tree.all("pre")
    for node in tables:
        assert node.one("caption").text()
        width = len(node.one("thead").all("th"))
        assert all(th.attributes["scope"] == "col" and th.text() for th in node.one("thead").all(
            "th"))
        for row in node.one("tbody").all("tr"):
            assert len([c for c in row.children if isinstance(c, Node)]) == width
            assert row.all("th")[0].attributes["scope"] == "row"
        holder = node.parent and node.parent.parent
        while holder is not None and "block" not in holder.attributes.get("class", ""):
            holder = holder.parent
        assert holder is not None
        assert len([a for a in holder.all("a") if "download" in a.attributes]) == 2


def test_the_metrics_are_those_of_the_records(tree: Node, folder: Path) -> None:
    rows = {row["model"]: row for row in _csv(_block(tree, "metrics"))}
    records = _records(folder)
    assert records.keys() <= rows.keys() and {"random", "popularity"} <= rows.keys()
    for label, found in records.items():
        values = [r["metrics"]["test"]["ndcg@50"] for r in found]
        assert float(rows[label]["ndcg@50"]) == pytest.approx(np.mean(values))
        spread = rows[label]["ndcg@50 standard deviation"]
        assert spread == "" if len(values) == 1 else float(spread) == pytest.approx(
            np.std(values, ddof=1))
        assert rows[label]["seeds"] == str(len(values))
    assert rows["taste, epsilon 4"]["epsilon"] == "4" and rows["bare"]["epsilon"] == "none"
    ranks = {name: np.stack([gains(np.load(r["folder"] / "ranks.npz")["test"], 50)
                             for r in records[name]]) for name in ("whole <b>", "bare")}
    mean, low, high = paired_interval(ranks["whole <b>"], ranks["bare"], seed=0)
    row = rows["whole <b>"]
    assert [float(row[f"ndcg@50 against bare{end}"]) for end in ("", " low", " high")] == [
        pytest.approx(v) for v in (mean, low, high)]
    others = {row["model"]: row for row in _csv(_block(tree, "further-metrics"))}
    (masked,) = records["masked"]
    known = masked["metrics"]["test"]
    assert {key for key in known if key not in rows["masked"]} <= others["masked"].keys()
    assert float(others["masked"]["recall@20"]) == known["recall@20"]
    order = [float(row["ndcg@50"]) for row in _csv(_block(tree, "metrics"))]
    assert order == sorted(order, reverse=True)


def test_the_best_of_each_column_is_marked(tree: Node, folder: Path) -> None:
    table = _block(tree, "metrics")
    heads = [th.text() for th in table.one("thead").all("th")]
    place = heads.index("ndcg@50")
    shown = {}
    for row in table.one("tbody").all("tr"):
        cells = [c for c in row.children if isinstance(c, Node)]
        shown[cells[0].text()] = cells[place]
    values = {name: float(cell.attributes["data-sort"]) for name, cell in shown.items()}
    top = max(values, key=lambda name: values[name])
    assert [name for name, cell in shown.items() if cell.all(class_="best")] == [top]
    assert "best of all" in shown[top].text()
    at4 = {n: v for n, v in values.items() if n.endswith("epsilon 4")}
    first = max(at4, key=lambda name: at4[name])
    assert first == top or shown[first].all(class_="first")


def test_the_curve_has_its_points_and_intervals(tree: Node, folder: Path) -> None:
    _, data = _figure(tree, "Test NDCG@50 over epsilon")
    records = _records(folder)
    series = {one["name"]: one["points"] for one in data["series"]}
    assert series.keys() == {"taste", "profile", "audited"}
    assert [text for _, text in data["x"]["ticks"]] == ["1", "2", "4", "16"]
    for point, epsilon in zip(series["taste"], report_runs.EPSILONS, strict=True):
        (record,) = records[f"taste, epsilon {epsilon:g}"]
        assert point["y"] == pytest.approx(record["metrics"]["test"]["ndcg@50"])
        assert point["low"] < point["y"] < point["high"]
        assert dict(map(tuple, data["x"]["ticks"]))[point["x"]] == f"{epsilon:g}"
        assert f"epsilon {epsilon:g}" in point["says"]
    assert sum(one["shown"] for one in data["lines"]) == 2, "the best model and the best baseline"


def test_bars_rounds_and_costs_are_those_of_the_records(tree: Node, folder: Path) -> None:
    records = _records(folder)
    _, bars = _figure(tree, "Models by accuracy")
    bar = {b["name"]: b for b in bars["bars"]}
    for label, runs in records.items():
        values = [r["metrics"]["test"]["ndcg@50"] for r in runs]
        assert bar[label]["value"] == pytest.approx(np.mean(values))
        assert bar[label]["low"] < bar[label]["value"] < bar[label]["high"]
    (masked,) = records["masked"]
    popular = masked["baselines"]["popularity"]["test"]["ndcg@50"]
    assert bar["popularity"]["value"] == pytest.approx(popular)
    _, rounds = _figure(tree, "Validation NDCG@50 by round")
    whole = next(one for one in rounds["series"] if one["name"] == "whole <b>")
    lines = [[json.loads(line)["validation"]["ndcg@50"] for line in
              (r["folder"] / "rounds.jsonl").read_text().splitlines()]
             for r in records["whole <b>"]]
    assert [p["y"] for p in whole["points"]] == pytest.approx(np.mean(lines, axis=0))
    assert [p["low"] for p in whole["points"]] == pytest.approx(np.min(lines, axis=0))
    traffic = {row["model"]: row for row in _csv(_figure(tree, "Traffic")[0])}
    sent = masked["costs"]["bytes_up_per_client_round"] * masked["rounds_run"] / 1024
    assert float(traffic["masked"]["KiB sent"]) == pytest.approx(sent)
    seconds = {row["model"]: float(row["training seconds"])
               for row in _csv(_figure(tree, "Training time")[0])}
    assert seconds["masked"] == pytest.approx(masked["costs"]["seconds"]["train"])


def test_the_audit_is_a_verdict_tables_and_a_heat_table(tree: Node, folder: Path) -> None:
    audit = json.loads((folder / "audited" / "audit.json").read_text())
    part = _block(tree, "audits")
    tone = "good" if audit["passed"] else "bad"
    assert "Claimed: epsilon 2" in part.one("p", class_="verdict").text()
    assert tone in part.one("p", class_="verdict").attributes["class"]
    assert "|---" not in part.text() and "## " not in part.text()
    assert "lower bound mean_shift" in [th.text() for th in part.all("th")]
    figure, data = _figure(tree, "Attacks: audited")
    cells = {(cell["column"], cell["row"]): cell for cell in data["cells"]}
    expected = {(mode, cell["attack"]): cell for mode, found in audit["attacks"].items()
                for cell in found.get("cells", [])}
    assert cells.keys() == expected.keys() and len(cells) > 5
    for place, cell in expected.items():
        assert cells[place]["value"] == cell["auc"][0]
    assert len(figure.one("tbody").all("tr")) == len(cells)


def test_the_comparison_is_tables(tree: Node, folder: Path) -> None:
    result = json.loads((folder / "ways" / "compare.json").read_text())
    (section,) = [node for node in tree.all("section")
                  if node.all("h2")[0].text().startswith("Ways of summing: planted")]
    bars = json.loads("".join(map(str, section.one("script").children)))["bars"]
    sent = {bar["name"]: bar["value"] for bar in bars if bar["group"] == "sent"}
    assert sent == {mode: row["bytes_up_per_client_round"] / 1024
                    for mode, row in result["modes"].items()}
    heads = [[th.text() for th in table.one("thead").all("th")] for table in section.all("table")]
    assert any("leak: precision" in head for head in heads) and any("dropout" in h for h in heads)


def test_the_gallery_shows_pictures_of_the_built_in_data(tree: Node, folder: Path) -> None:
    gallery = _block(tree, "gallery")
    assert len(gallery.all("h3")) == 3 and "They are made up" in gallery.text()
    cards = gallery.all("figure", class_="card")
    assert len(cards) == 3 * (8 + 8)
    for card in cards:
        assert card.one("img").attributes["src"].startswith("data:image/png;base64,")
        assert card.one("figcaption").text().startswith("The ")
    assert 'id="gallery"' not in page([folder], "", "None", [], 0)


def test_runs_of_earlier_versions_are_reported_still(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(folder / "bare", old)
    for file in old.rglob("record.json"):
        record = json.loads(file.read_text())
        for key in ("series", "dp_epsilon", "mode", "parts", "cold_items"):
            record.pop(key, None)
        file.write_text(json.dumps(record))
        # A run whose model is gone has figures still, and the gallery says why it is not there.
        (file.parent / "checkpoint.pt").unlink()
    tree = markup.parse(page([old], "", "Old", []))
    assert [row["model"] for row in _csv(_block(tree, "metrics")) if row["seeds"]] == ["bare"]
    assert "No recommendations are shown" in _block(tree, "gallery").text()
    with pytest.raises(UserError, match=r"checkpoint\.pt"):
        page([old], "", "Old", [], 2)


def test_models_say_what_they_are_where_they_differ(tree: Node, folder: Path) -> None:
    rows = {row["model"]: row for row in _csv(_block(tree, "settings"))}
    assert rows.keys() >= _records(folder).keys()
    assert rows["taste, epsilon 16"]["epsilon"] == "16" and rows["bare"]["epsilon"] == "none"
    said = {name: " ".join(row.values()) for name, row in rows.items()}
    assert "masked" in said["masked"].removeprefix("masked") and "backbone" in said["bare"]
