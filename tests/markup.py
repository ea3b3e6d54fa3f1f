"""HTML as a tree, for tests that look at a page as a reader of it would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Node:
    """An element: its name, attributes, children, and the element that it stands in."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)
    parent: Node | None = None

    def all(self, tag: str = "", **attributes: str) -> list[Node]:
        """The elements within it of a name and attributes, in order; class_ is one of its own."""
        return [node for node in self._within() if (not tag or node.tag == tag) and all(
            value in node.attributes.get("class", "").split() if name == "class_"
            else node.attributes.get(name) == value for name, value in attributes.items())]

    def one(self, tag: str = "", **attributes: str) -> Node:
        """The only such element."""
        (found,) = self.all(tag, **attributes)
        return found

    def text(self) -> str:
        """All its text, spaces as one."""
        return " ".join("".join(self._texts()).split())

    def _within(self) -> Iterator[Node]:
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child._within()

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, Node):
                yield from child._texts()
            else:
                yield child


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Node("")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, parent=self.at)
        self.at.children.append(node)
        if tag not in _VOID:
            self.at = node

    def handle_endtag(self, tag: str) -> None:
        if self.at.tag != tag or self.at.parent is None:
            raise ValueError(f"line {self.getpos()[0]}: </{tag}> closes <{self.at.tag}>")
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.children.append(data)


def parse(text: str) -> Node:
    """The tree of a document. Raises ValueError where an element is not closed by its own end."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    if parser.at is not parser.root:
        raise ValueError(f"<{parser.at.tag}> is not closed")
    return parser.root
