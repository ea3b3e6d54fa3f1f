"""The structure holds: one way of imports, no circle of files, files that can be read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import structure

ROOT = Path(__file__).parents[1]
FILES = structure.files(ROOT)
LONGEST = 350  # lines
# Circles that are known and still to be undone. This list may only shrink.
KNOWN_CIRCLES: list[list[str]] = []


def _written(folder: Path, texts: dict[str, str]) -> dict[str, structure.File]:
    """Files of a made-up checkout."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return structure.files(folder)


@pytest.mark.parametrize("name", FILES)
def test_import_rule(name: str) -> None:
    """experiments -> privfedmm -> privacy, in functions too, and none needs the tests."""
    file = FILES[name]
    own = name.split(".")[0]
    may = set(structure.PACKAGES[structure.PACKAGES.index(own):])
    needed = {other.split(".")[0] for other in structure.imports(file, FILES)}
    assert needed <= may
    roots = {node.module.split(".")[0] for node in ast.walk(file.tree)
             if isinstance(node, ast.ImportFrom) and node.module}
    roots |= {alias.name.split(".")[0] for node in ast.walk(file.tree)
              if isinstance(node, ast.Import) for alias in node.names}
    assert "tests" not in roots
    # A module of ours that is imported but not there would be left out of the graph.
    assert roots & set(structure.PACKAGES) <= may


def test_no_circle_of_files() -> None:
    found = structure.circles(structure.file_graph(FILES))
    assert found == KNOWN_CIRCLES


def test_no_circle_of_rooms() -> None:
    """Of two rooms at most one knows the other, in functions and for type checkers too."""
    rooms = structure.room_graph(FILES)
    assert structure.on_circles(rooms) == [] and structure.against_order(rooms) == []


def test_files_stay_readable() -> None:
    long = {name: file.lines for name, file in FILES.items() if file.lines > LONGEST}
    assert not long


def test_circles_and_back_arrows_are_found(tmp_path: Path) -> None:
    known = _written(tmp_path, {
        "privacy/__init__.py": "",
        "privacy/one.py": "import privacy.two",
        "privacy/two.py": "from privacy import three",
        "privacy/three.py": "from privacy.one import thing",
        "privacy/later.py": "def use():\n    from privacy.needs import late",
        "privacy/needs.py": "import privacy.later",
        "privacy/typed.py": "if TYPE_CHECKING:\n    import privacy.uses",
        "privacy/uses.py": "import privacy.typed",
        "privfedmm/__init__.py": "import experiments",
        "experiments/__init__.py": "import privfedmm.room.inner",
        "privfedmm/room/__init__.py": "",
        "privfedmm/room/inner.py": "from privfedmm import x",
    })
    assert structure.circles(structure.file_graph(known)) == [
        ["experiments", "privfedmm", "privfedmm.room.inner"],
        ["privacy.one", "privacy.three", "privacy.two"]]
    rooms = structure.room_graph(known)
    assert structure.against_order(rooms) == [("privfedmm (door)", "experiments (door)")]
    assert len(structure.on_circles(rooms)) == 3


def test_relative_imports_are_refused(tmp_path: Path) -> None:
    known = _written(tmp_path, {"privacy/__init__.py": "from . import x", "privacy/x.py": ""})
    with pytest.raises(ValueError, match="write the whole name"):
        structure.room_graph(known)


def test_ladders_are_counted() -> None:
    tree = ast.parse(
        "if isinstance(a, int) or run.method == 'gfmfr': pass\n"
        "elif name in ('x', 'y') or kind.trust != 'local': pass\n"
        "elif run.method == other or run.rounds == 3 or run.colour == 'red': pass\n")
    assert structure.isinstance_calls(tree) == 1
    assert structure.name_comparisons(tree) == 3


def test_figures_of_this_checkout() -> None:
    figures = structure.figures(ROOT)
    assert figures["files"] == len(FILES)
    assert figures["circles of files"] == len(KNOWN_CIRCLES)
    assert figures["  against the packages' order"] == 0
