"""Named things that others may add: by an entry point of their package, or by a call in Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from typing import Generic, Protocol, TypeVar

OURS, HERE = "privfedmm", "this process"  # where an entry may come from, beside packages


class Named(Protocol):
    """Anything with a name can be registered."""

    @property
    def name(self) -> str:
        """Return the name by which configs and records call it."""
        ...


Entry = TypeVar("Entry", bound=Named)


class UnknownName(ValueError):
    """Nothing is registered under this name; the sentence lists what there is."""


class BrokenEntry(ValueError):
    """What a package has registered under this name cannot be loaded; the sentence says why."""


class Registry(Generic[Entry]):
    """A registry holds the entries of one kind by name.

    Built-in entries are named by "module:attribute" and imported when they are first asked for, so
    that a registry costs nothing and makes no circle of files. Entries of other packages are found
    by the entry point group `privfedmm.<kind>`; `register` adds one in this process alone. A name
    belongs to whoever had it first: built-in, then registered, then entry points.

    >>> from privfedmm.base.registry import Registry
    >>> shelf = Registry("shelves", "shelf", {})
    >>> shelf.names()
    ()
    """

    def __init__(
        self, kind: str, word: str, builtin: Mapping[str, str], section: str = ""
    ) -> None:
        """kind: plural, as in the entry point group. word: one of them, for sentences. section:
        the dotted path of a config's settings that name one and tune it; empty where entries have
        settings of their own, or none."""
        self.kind = kind
        self.word = word
        self.section = section
        self._builtin = dict(builtin)
        self._found: dict[str, Entry] = {}
        self._source: dict[str, str] = dict.fromkeys(builtin, OURS)
        self._points: dict[str, metadata.EntryPoint] | None = None

    def register(self, entry: Entry) -> Entry:
        """Add an entry for this process, and return it, so that it also serves as a decorator.

        Other processes (workers of a sweep, nodes of a deployment) find entries by entry points
        alone. Raises ValueError for a name that is taken by another entry.
        """
        taken = entry.name in self._builtin or (
            entry.name in self._found and self._found[entry.name] is not entry)
        if taken:
            raise ValueError(f"{self.word} {entry.name!r} is registered already, by "
                             f"{self.source(entry.name)}; choose another name")
        self._found[entry.name] = entry
        self._source[entry.name] = HERE
        return entry

    def forget(self, name: str) -> None:
        """Take back what `register` added; for tests. Raises KeyError where it added nothing."""
        if name in self._builtin:
            raise KeyError(name)
        del self._found[name]
        del self._source[name]

    def names(self) -> tuple[str, ...]:
        """Return all names: built-in ones in their order, then the others by letter."""
        others = sorted((self._found.keys() | self._entry_points().keys()) - self._builtin.keys())
        return (*self._builtin, *others)

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[Entry]:
        """Yield all entries but those that cannot be loaded: they are nobody's but their own fault.
        """
        for name in self.names():
            try:
                entry = self.get(name)
            except BrokenEntry:
                continue  # `broken` says why
            yield entry

    def broken(self) -> Mapping[str, str]:
        """Return why entries of other packages cannot be loaded, by their names."""
        out = {}
        for name in self._entry_points():
            try:
                self.get(name)
            except BrokenEntry as error:
                out[name] = str(error)
        return out

    def get(self, name: str) -> Entry:
        """Return the entry of a name. Raises UnknownName, with all names there are, and
        BrokenEntry."""
        if name not in self._found:
            if name in self._builtin:
                module, _, attribute = self._builtin[name].partition(":")
                self._found[name] = getattr(import_module(module), attribute)
            elif name in self._entry_points():
                point = self._entry_points()[name]
                entry = self._loaded(point)
                if entry.name != name:
                    raise BrokenEntry(f"the entry point {name!r} of {self.kind} gives "
                                      f"{entry.name!r}; the two names must be one")
                self._found[name] = entry
                self._source[name] = point.dist.name if point.dist else point.module
            else:
                raise UnknownName(self.unknown(name))
        return self._found[name]

    def _loaded(self, point: metadata.EntryPoint) -> Entry:
        try:
            found: Entry = point.load()
            _ = found.name
        except Exception as error:  # a package of somebody else's: whatever it raises
            raise BrokenEntry(
                f"the {self.word} {point.name!r} of the package "
                f"{point.dist.name if point.dist else point.module} cannot be loaded "
                f"({type(error).__name__}: {error}); mend or uninstall that package") from error
        return found

    def unknown(self, name: object) -> str:
        """Return the sentence for a name that is not there."""
        return f"there is no {self.word} {name!r}; there are {', '.join(self.names())}"

    def source(self, name: str) -> str:
        """Return the package that an entry comes from. Raises UnknownName."""
        self.get(name)
        return self._source[name]

    def _entry_points(self) -> Mapping[str, metadata.EntryPoint]:
        if self._points is None:
            found = metadata.entry_points(group=f"{OURS}.{self.kind}")
            self._points = {point.name: point for point in found}
        return self._points
