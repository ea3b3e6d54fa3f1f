"""Figures of the code's structure, read from its syntax trees: `python -m tests.structure`.

Rooms are folders with Python files. The `__init__` of a package is a room of its own, the door: it
hands on what is inside, and nobody inside goes through it. An arrow goes from the room that imports
to the room that is imported. An arrow goes back where it points against experiments -> privfedmm ->
privacy, or where it lies on a circle of rooms. Circles of files count the imports that run when a
file is loaded; an import inside a function or for type checkers alone closes no circle.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PACKAGES = ("experiments", "privfedmm", "privacy")  # each may import itself and those after it
# Attributes and variables whose comparison with a word is a ladder of names.
NAMED = frozenset({"method", "backbone", "grouping", "name", "mode", "trust", "place", "event"})

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class File:
    """One file of the code: where it is, what it says."""

    module: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder, as a dotted name."""
        if self.module in PACKAGES:
            return f"{self.module} (door)"
        whole = self.path.name == "__init__.py"
        return self.module if whole else self.module.rpartition(".")[0]


def files(root: Path) -> dict[str, File]:
    """Every file of the packages under `root`, by the name of its module."""
    out = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            out[name] = File(name, path, len(text.splitlines()), ast.parse(text))
    return out


def imports(file: File, known: Mapping[str, File], on_load: bool = False) -> set[str]:
    """The modules among `known` that a file imports; with `on_load`, only while it is loaded."""
    out: set[str] = set()
    for node in _on_load(file.tree) if on_load else ast.walk(file.tree):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{file.path}: a relative import; write the whole name")
            module = node.module or ""
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                out.add(whole if whole in known else module)
    return (out & known.keys()) - {file.module}


def _on_load(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when a module is loaded: not those in functions, nor for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _on_load(child)


def file_graph(known: Mapping[str, File]) -> dict[str, set[str]]:
    """Which file needs which others to be loaded."""
    return {name: imports(file, known, on_load=True) for name, file in known.items()}


def room_graph(known: Mapping[str, File]) -> dict[str, set[str]]:
    """Which room imports from which others, at any time."""
    out: dict[str, set[str]] = {}
    for file in known.values():
        needed = out.setdefault(file.room, set())
        needed |= {known[other].room for other in imports(file, known)} - {file.room}
    return out


def circles(graph: Graph) -> list[list[str]]:
    """Sets of two or more nodes that all reach each other (Tarjan 1972), largest first."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found, key=lambda circle: (-len(circle), circle))


def against_order(graph: Graph) -> list[tuple[str, str]]:
    """Arrows from a lower package to a higher one."""
    place = {package: at for at, package in enumerate(PACKAGES)}
    return sorted((one, other) for one, others in graph.items() for other in others
                  if place[_package(other)] < place[_package(one)])


def _package(room: str) -> str:
    return room.split(".")[0].removesuffix(" (door)")


def on_circles(graph: Graph) -> list[tuple[str, str]]:
    """Arrows between rooms that reach each other."""
    return sorted((one, other) for circle in circles(graph) for one in circle
                  for other in graph[one] & set(circle))


def isinstance_calls(tree: ast.AST) -> int:
    """How often a file asks a value for its class."""
    return sum(isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
               and node.func.id == "isinstance" for node in ast.walk(tree))


def name_comparisons(tree: ast.AST) -> int:
    """How often a file compares a named kind with words: `x.method == "..."`, `name in (...)`."""
    return sum(isinstance(node, ast.Compare) and _named(node.left)
               and any(_words(other) for other in node.comparators) for node in ast.walk(tree))


def _named(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr in NAMED) or (
        isinstance(node, ast.Name) and node.id in NAMED)


def _words(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(_words(item) for item in node.elts)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def figures(root: Path) -> dict[str, object]:
    """The figures by their words, in the order in which they are printed."""
    known = files(root)
    rooms = room_graph(known)
    longest = max(known.values(), key=lambda file: file.lines)
    back = set(against_order(rooms)) | set(on_circles(rooms))
    return {
        "files": len(known),
        "lines": sum(file.lines for file in known.values()),
        "rooms": len(rooms),
        "arrows between rooms": sum(len(others) for others in rooms.values()),
        "back arrows": len(back),
        "  against the packages' order": len(against_order(rooms)),
        "  on a circle of rooms": len(on_circles(rooms)),
        "pairs of rooms that import each other": sum(
            one in rooms[other] for one, others in rooms.items() for other in others) // 2,
        "circles of files": len(circles(file_graph(known))),
        "isinstance calls": sum(isinstance_calls(file.tree) for file in known.values()),
        "name comparisons": sum(name_comparisons(file.tree) for file in known.values()),
        "median file, lines": int(median(file.lines for file in known.values())),
        "longest file, lines": f"{longest.lines} ({longest.module})",
    }


def main() -> None:
    """Print the figures of a checkout, and with --list what stands behind them."""
    parser = argparse.ArgumentParser(description="Figures of the structure.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1],
                        help="the checkout to read; default: the one this file is in")
    parser.add_argument("--list", action="store_true",
                        help="also list circles, back arrows, and where ladders stand")
    given = parser.parse_args()
    for word, value in figures(given.root).items():
        print(f"{word:40} {value}")
    known = files(given.root)
    for circle in circles(file_graph(known)):
        print("circle of files:", ", ".join(circle))
    if not given.list:
        return
    rooms = room_graph(known)
    for one, other in sorted(set(against_order(rooms)) | set(on_circles(rooms))):
        print(f"back arrow: {one} -> {other}")
    for name, file in known.items():
        asked, compared = isinstance_calls(file.tree), name_comparisons(file.tree)
        if asked or compared:
            print(f"{name}: {asked} isinstance, {compared} name comparisons")


if __name__ == "__main__":
    main()
