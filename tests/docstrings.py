"""What the public definitions of the libraries say of themselves, read from the syntax trees.

Public is a function, a class or a method whose name has no leading underscore, where it stands at
the top of a file or of such a class. An attribute is not, nor is what a function defines inside.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tests.structure import File

Function = ast.FunctionDef | ast.AsyncFunctionDef
Key = tuple[str, str]  # module and name of a class

def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The words that a docstring of a function may begin with, each of them read where it stands. A new
# verb joins the list; a noun, a question word or a name does not.
VERBS = _words("""
Accept Add Advertise Agree Answer Append Apply Ask Audit Begin Bind Bound Bring Build Calibrate
Carry Centre Change Charge Check Choose Clip Cluster Combine Compute Continue Copy Count Cut Deal
Decay Decide Declare Decode Decrypt Define Derive Describe Do Draw Drop Encode Encrypt End Estimate
Exchange Factorise Filter Find Fit Fix Fuse Gather Generate Give Go Guess Have Hold Ignore Implement
Import Index Join Judge Keep Key Lay Leave Let Load Make Mask Measure Mix Multiply Name Note Open
Overwrite Pass Pin Place Play Predict Prepare Price Project Protect Provide Publish Put Raise Rank
Read Record Recover Reduce Refuse Register Remember Remove Rename Report Restore Return Reveal Round
Run Say Scale Score Seal Send Serve Set Shrink Sign Sort Split Stand Standardise Start State Store
Subtract Sum Tabulate Take Target Tell Train Transform Turn Walk Write Yield
""")
# Of these the noun is as common: `Name in configs` is no sentence, `Name what is read` is one.
_NOUNS_TOO = _words("""
Bound Copy Count Cut End Index Key Mask Name Note Place Play Price Project Rank Record Report
Round Run Scale Score Seal Set Sign Split Start State Store Sum Target
""")
_NO_OBJECT = re.compile(r"(of|into|for|\d+)\b|in (?!a sentence|one sentence|place)")
# A class may also say what it is: a subject without a clause of its own, then a finite verb.
_SAYS = re.compile(
    r"(This|These|An?|The|Nothing|Anything|Targets)\b"
    r"(?: (?!(?:that|which|who|whom|whose|where|when)\b)[\w'`-]+){0,8}? "
    r"(is|are|brings|can|cannot|gives|has|holds|keeps|names|plays|raises|resizes|says|sets)\b"
    r"|What (?:[\w'`-]+ ){1,8}cannot\b")


@dataclass(frozen=True)
class Definition:
    """One public definition: where it is, what kind it is, what it says.

    owner: the class of a method; None for a class or a function.
    """

    module: str
    name: str
    node: Function | ast.ClassDef
    owner: Class | None = None

    @property
    def text(self) -> str | None:
        """Return its own docstring, None where it has none."""
        return ast.get_docstring(self.node)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Class:
    """A class of the code, with the classes of the code that it derives from."""

    key: Key
    node: ast.ClassDef
    bases: tuple[Key, ...]
    protocol: bool
    methods: Mapping[str, Function] = field(repr=False)

    @cached_property
    def members(self) -> frozenset[str]:
        """Return the public names that it gives its instances, those of its bases left out."""
        found = set(self.methods)
        for node in ast.walk(self.node):
            targets = node.targets if isinstance(node, ast.Assign) else (
                [node.target] if isinstance(node, ast.AnnAssign) else [])
            for target in targets:
                for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                    of_self = isinstance(one, ast.Attribute) and ast.unparse(one.value) == "self"
                    if isinstance(one, ast.Attribute) and of_self:
                        found.add(one.attr)
                    elif isinstance(one, ast.Name) and node in self.node.body:
                        found.add(one.id)
        return frozenset(name for name in found if not name.startswith("_"))


class Definitions:
    """Every public definition of some files."""

    def __init__(self, files: Mapping[str, File]) -> None:
        self._imported = {name: _imported(file.tree) for name, file in files.items()}
        nodes = {(name, node.name): node for name, file in files.items()
                 for node in file.tree.body if isinstance(node, ast.ClassDef)}
        self.classes = {
            key: Class(key, node, tuple(
                base for one in node.bases
                if (base := self._resolved(key[0], ast.unparse(one).partition("[")[0])) in nodes),
                any(ast.unparse(one).partition("[")[0] == "Protocol" for one in node.bases),
                {m.name: m for m in node.body if isinstance(m, Function)})
            for key, node in nodes.items()}
        self._protocols = [c for c in self.classes.values() if c.protocol]
        self.all = [found for name, file in files.items() for found in self._of(name, file)]

    def missing(self) -> list[str]:
        """Return what has no docstring and may not do without one."""
        return [str(one) for one in self.all if not one.text and not self.said_elsewhere(one)]

    def said_elsewhere(self, one: Definition) -> bool:
        """Tell whether a method is documented by what it overrides or implements.

        It is where a base class in the code documents it, and where its class has every member of a
        Protocol of the code that documents a method of this name and these parameters.
        """
        if one.owner is None:
            return False
        bases = list(self._above(one.owner))
        members = frozenset().union(one.owner.members, *(base.members for base in bases))
        protocols = [p for p in self._protocols
                     if frozenset().union(p.members, *(b.members for b in self._above(p)))
                     <= members and _parameters(p.methods.get(one.node.name)) == _parameters(
                         one.node)]
        return any(one.node.name in c.methods and ast.get_docstring(c.methods[one.node.name])
                   for c in bases + protocols)

    def _above(self, one: Class) -> Iterator[Class]:
        for key in one.bases:
            yield self.classes[key]
            yield from self._above(self.classes[key])

    def _resolved(self, module: str, name: str) -> Key:
        """The class that a name of a module stands for, through the doors that hand it on."""
        while name in self._imported.get(module, {}):
            module, name = self._imported[module][name]
        return module, name

    def _of(self, module: str, file: File) -> Iterator[Definition]:
        for node in file.tree.body:
            if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                continue
            yield Definition(module, node.name, node)
            if isinstance(node, ast.ClassDef):
                owner = self.classes[module, node.name]
                for name, method in owner.methods.items():
                    if not name.startswith("_"):
                        yield Definition(module, f"{node.name}.{name}", method, owner)


def fault(one: Definition) -> str | None:
    """Say what keeps the first sentence of a docstring from being one; None for nothing."""
    first = " ".join((one.text or "").partition("\n\n")[0].split())
    if not first[:1].isupper() and first[:1] != "`":
        return "begins without a capital"
    if not first.endswith("."):
        return "ends without a full stop"
    word, _, rest = first.partition(" ")
    word = word.rstrip(",.:")
    is_class = isinstance(one.node, ast.ClassDef)
    verbs = {word} | ({_base(word)} if is_class else set())
    if verbs & VERBS:
        noun = word in _NOUNS_TOO and _NO_OBJECT.match(rest)
        return f"begins with {word!r} as a noun" if noun else None
    if is_class and _SAYS.match(first):
        return None
    return f"begins with {word!r}, which is no verb of VERBS in tests/docstrings.py"


def _base(word: str) -> str:
    """A verb without the ending of the third person: Holds, Passes, Carries, Has."""
    if word == "Has":
        return "Have"
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("s", "")):
        if word.endswith(ending):
            return word.removesuffix(ending) + instead
    return word


def _parameters(node: Function | ast.ClassDef | None) -> list[str] | None:
    if not isinstance(node, Function):
        return None
    given = node.args
    return [one.arg for one in given.posonlyargs + given.args + given.kwonlyargs]


def _imported(tree: ast.Module) -> dict[str, Key]:
    return {alias.asname or alias.name: (node.module or "", alias.name)
            for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
