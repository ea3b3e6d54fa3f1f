"""The page of a report in headless Chromium: wide and narrow, light and dark, by mouse and keys."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.report.page import page
from tests import report_runs
from tests.browser import Browser, browser, find

pytestmark = pytest.mark.slow
WIDTHS = (1400, 400)
# From colours as a browser computes them.
_CONTRAST = """(() => {
  const light = (c) => { const [r, g, b] = c.map((v) => v / 255).map(
    (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const rgb = (text) => { const found = text.match(/[\\d.]+/g).map(Number);
    return { parts: found.slice(0, 3).map((v) => text.startsWith('color') ? v * 255 : v),
      alpha: found[3] ?? 1 }; };
  const ground = (node) => { for (; node; node = node.parentElement) {
    const found = rgb(getComputedStyle(node).backgroundColor);
    if (found.alpha > 0) return found.parts; } return [255, 255, 255]; };
  return [...document.querySelectorAll('p,li,th,td,small,a,button,summary,caption,label')]
    .filter((node) => node.checkVisibility() && node.textContent.trim()).map((node) => {
      const one = light(rgb(getComputedStyle(node).color).parts), other = light(ground(node));
      return [(Math.max(one, other) + .05) / (Math.min(one, other) + .05),
        node.tagName, node.textContent.slice(0, 40)]; })
    .filter(([ratio]) => ratio < 4.5); })()"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    report_runs.make(folder / "runs")
    out = folder / "page.html"
    out.write_text(page([folder / "runs"], "bare", "Report", [folder / "runs"]), encoding="utf-8")
    return out


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine: install chromium, or name one in "
                    "PRIVFEDMM_CHROMIUM")
    with browser(program) as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_is_drawn_and_is_quiet(
    tab: Browser, file: Path, width: int, scheme: str
) -> None:
    tab.open(file, width, scheme=scheme)
    assert tab.log == []
    assert {address.partition(":")[0] for address in tab.asked} <= {"file", "data"}
    assert sum(address.startswith("file:") for address in tab.asked) == 1
    assert tab.js("document.documentElement.scrollWidth") == width
    # Nothing stands out of the page either, but within what scrolls by itself.
    assert tab.js(f"""[...document.querySelectorAll('main *')].filter((node) =>
        !node.closest('.scroll, .shelf, svg') && node.checkVisibility() &&
        node.getBoundingClientRect().right > {width} + 1).map((n) => n.outerHTML.slice(0, 80))"""
                  ) == []
    drawn = tab.js("""[...document.querySelectorAll('figure.chart')].map((figure) =>
        [figure.id, figure.querySelectorAll('.plot > svg [aria-label][tabindex]').length,
         figure.querySelector('.plot').getBoundingClientRect().height])""")
    assert len(drawn) == 8 and all(points > 1 and height > 60 for _, points, height in drawn)
    assert tab.js(_CONTRAST) == []
    assert tab.js("getComputedStyle(document.body).backgroundColor") == {
        "light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
    shots = os.environ.get("PRIVFEDMM_SCREENSHOTS")
    if shots:
        tab.shot(Path(shots) / f"report-{width}-{scheme}.png")


def test_what_is_drawn_are_the_figures(tab: Browser, file: Path) -> None:
    """Lengths of bars and heights of points are in the ratio of the values that they stand for."""
    tab.open(file, 1400)
    bars = tab.js("""(() => { const figure = document.getElementById('training-time');
        const values = JSON.parse(figure.querySelector('script').textContent).bars;
        return [...figure.querySelectorAll('rect[aria-label]')].map((bar) => [
          +bar.getAttribute('width'),
          values.find((v) => v.says === bar.getAttribute('aria-label')).value]); })()""")
    assert len(bars) > 8
    scale = max(width for width, _ in bars) / max(value for _, value in bars)
    assert all(width == pytest.approx(value * scale, abs=0.6) for width, value in bars)


def test_the_theme_can_be_chosen(tab: Browser, file: Path) -> None:
    tab.open(file, 1400)
    ground = "getComputedStyle(document.body).backgroundColor"
    before = tab.js(ground)
    assert tab.js("document.getElementById('theme').textContent") == "Dark theme"
    tab.js("document.getElementById('theme').click()")
    assert tab.js(ground) != before
    tab.js("document.getElementById('theme').click()")
    assert tab.js(ground) == before


def test_tables_are_sorted_and_filtered(tab: Browser, file: Path) -> None:
    tab.open(file, 1400)
    names = ("[...document.querySelectorAll('#metrics tbody tr:not([hidden]) > :first-child')]"
             ".map((cell) => cell.textContent)")
    before = tab.js(names)
    # By the real keyboard: the heading of a column is a button.
    tab.js("document.querySelector('#metrics thead th:nth-child(2) button').focus()")
    tab.key("Enter", 13)
    tab.rest()
    column = tab.js("""[...document.querySelectorAll('#metrics tbody tr > :nth-child(2)')].map(
        (cell) => +cell.dataset.sort)""")
    head = "document.querySelector('#metrics thead th:nth-child(2)').getAttribute('aria-sort')"
    # Infinity is how a row without a budget is sorted.
    assert tab.js(head) == "descending" and sorted(before) == sorted(tab.js(names))
    finite = [value for value in column if value is not None]
    assert finite == sorted(finite, reverse=True) and column[-len(finite):] == finite
    tab.js("""(() => { const input = document.querySelector('#metrics .filter input');
        input.value = 'taste 4'; input.dispatchEvent(new Event('input')); })()""")
    assert tab.js(names) == ["taste, epsilon 4"]
    assert tab.js("document.querySelector('#metrics output').textContent").startswith("1 of ")


def test_a_series_is_shown_on_demand(tab: Browser, file: Path) -> None:
    tab.open(file, 1400)
    figure = "document.getElementById('test-ndcg-50-over-epsilon')"
    points = f"{figure}.querySelectorAll('.plot [aria-label][tabindex]').length"
    before = tab.js(points)
    tab.js(f"{figure}.querySelector('.controls input').click()")
    assert tab.js(points) == before - 3
    rules = (f"{figure}.querySelectorAll('.plot line[stroke-dasharray], "
             ".plot g[stroke-dasharray] line').length")
    drawn = tab.js(rules)
    tab.js(f"{figure}.querySelector('.controls details input').click()")
    assert tab.js(rules) == drawn + 1


def test_points_are_walked_over_by_keys_and_say_what_they_are(tab: Browser, file: Path) -> None:
    tab.open(file, 1400)
    plot = "document.querySelector('#models-by-accuracy .plot')"
    assert tab.js(f"{plot}.querySelectorAll('[tabindex=\"0\"]').length") == 1
    tab.js("document.querySelector('#models-by-accuracy .controls button, "
           "#models-by-accuracy .controls input:last-of-type').focus()")
    stops: list[str] = []
    for _ in range(6):  # whatever controls stand between
        tab.key("Tab", 9)
        stops.append(tab.js("document.activeElement.getAttribute('aria-label') ?? ''"))
        if tab.js(f"{plot}.contains(document.activeElement)"):
            break
    first = stops[-1]
    assert "95% interval" in first or ": 0." in first
    tab.key("ArrowDown", 40)
    second = tab.js("document.activeElement.getAttribute('aria-label')")
    assert second != first and ": 0." in second
    tab.rest()
    tip = tab.js(f"{plot}.querySelector('g[aria-label=tip]').textContent")
    value = second.partition(": ")[2][:6]
    assert value.startswith("0.") and value in tip, "a focused point shows its tip"
    tab.key("End", 35)
    tab.key("ArrowUp", 38)
    tab.key("Home", 36)
    assert tab.js("document.activeElement.getAttribute('aria-label')") == first


def _saved(tab: Browser, kind: str, place: Path, name: str) -> bytes:
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(place))
    tab.js(f"document.querySelector('#{name} [data-save={kind}]').click()")
    for _ in range(100):
        tab.rest()
        out = place / f"{name}.{kind}"
        if out.exists() and out.stat().st_size:
            return out.read_bytes()
    raise AssertionError(f"nothing was saved in {list(place.iterdir())}")


@pytest.mark.parametrize("name", ["models-by-accuracy", "attacks-audited",
                                  "test-ndcg-50-over-epsilon"])
def test_figures_are_saved_to_stand_alone(
    tab: Browser, file: Path, tmp_path: Path, name: str
) -> None:
    tab.open(file, 400, scheme="dark")
    svg = _saved(tab, "svg", tmp_path, name).decode()
    assert svg.startswith("<svg") and float(svg.split(' width="')[1].split('"')[0]) > 600
    for foreign in ("var(", "color-mix", "light-dark", "currentColor", "tabindex", "<style"):
        assert foreign not in svg, foreign
    assert 'fill="#ffffff"' in svg and "<title>" in svg
    alone = tmp_path / "alone.svg"
    alone.write_text(svg)
    tab.open(alone, 1000)
    assert tab.log == [] and tab.js("document.documentElement.tagName") == "svg"
    tab.open(file, 400, scheme="dark")
    png = _saved(tab, "png", tmp_path, name)
    width, height = struct.unpack(">II", png[16:24])
    assert png[:4] == b"\x89PNG" and width > 600 and height > 200
    assert tab.js("getComputedStyle(document.documentElement).colorScheme") == "light dark"


def test_it_is_printed_light_and_without_buttons(
    tab: Browser, file: Path, tmp_path: Path
) -> None:
    tab.open(file, 1400, scheme="dark")
    tab.call("Emulation.setEmulatedMedia", media="print",
             features=[{"name": "prefers-color-scheme", "value": "dark"}])
    look: dict[str, Any] = tab.js("""({
        ink: getComputedStyle(document.body).color,
        buttons: [...document.querySelectorAll('button[data-save], nav, #theme')].filter(
          (node) => node.checkVisibility()).length,
        tables: [...document.querySelectorAll('#metrics table')].filter(
          (node) => node.checkVisibility()).length })""")
    assert look == {"ink": "rgb(27, 33, 41)", "buttons": 0, "tables": 1}
    tab.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes()[:5] == b"%PDF-"
    tab.call("Emulation.setEmulatedMedia", media="")
