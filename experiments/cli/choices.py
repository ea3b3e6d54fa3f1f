"""Options with a closed list of values: the parser lists it, completes from it and refuses others.

Of settings the lists stand here once more, for `--help` must not wait until settings are loaded; a
test compares the two. Names of registries are asked for when one is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click import Choice, Context, Parameter, ParamType
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    _Text = ParamType[str]
else:  # which has no types inside before click 8.3
    _Text = ParamType

MODES = ("default", "reference")
TRUSTS = ("central", "local", "distributed")
UNITS = ("user", "interaction")
SAMPLINGS = ("everyone", "poisson", "fixed")
NOISES = ("csprng", "simulation")
SPLITS = ("auto", "leave-one-out", "given")
DUPLICATES = ("last", "first", "error")
PARTS = ("budget", "empirical", "attacks")
# What privfedmm.loggers has.
LOGGERS = ("tensorboard", "mlflow", "wandb")


def one_of(names: Sequence[str]) -> Choice[str]:
    """Return the type of an option that takes one of a few names."""
    return Choice(names)


class Several(_Text):
    """This is the type of an option that takes some of a few names, with commas."""

    def __init__(self, names: Sequence[str]) -> None:
        self.name, self._names = ",".join(names), names

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> str:
        """Return the text as given. Fails for a name that is not among them."""
        for name in str(value).split(","):
            if name.strip() not in self._names:
                self.fail(f"{name!r} is not one of {', '.join(map(repr, self._names))}", param, ctx)
        return str(value)


class SweepFile(_Text):
    """This is the type of an argument that takes a file, or the name of a config that ships here
    where there is no such file."""

    name = "file"

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> str:
        """Return the path of the file. Fails where there is neither, with the names there are."""
        given, ours = Path(value), shipped()
        # A folder of that name, as one of runs, is no file; a pipe is as good as one.
        if given.exists() and not given.is_dir():
            return str(value)
        if str(value) not in ours:
            self.fail(f"there is no file {value}, and no config of that name comes with privfedmm; "
                      f"those that do are {', '.join(ours)}", param, ctx)
        return str(ours[str(value)])

    def shell_complete(
        self, ctx: Context, param: Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin with what was typed; the shell offers files where there is
        none."""
        return [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]


def shipped() -> dict[str, Path]:
    """Return the configs of sweeps that come with the package, by name."""
    files = (Path(__file__).parents[1] / "configs").glob("*.toml")
    return {file.stem: file for file in sorted(files)}


class Registered(_Text):
    """This is the type of an option that takes a name of a registry, whoever registered it.

    kind: of `experiments.cli.lists.KINDS`.
    """

    def __init__(self, kind: str) -> None:
        self.name, self._kind = "name", kind

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> str:
        """Return the name. Fails for one that is not registered, with all that are."""
        registry = self._registry()
        if value not in registry.names():
            self.fail(registry.unknown(value), param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: Context, param: Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin with what was typed."""
        return [CompletionItem(name) for name in self._registry().names()
                if name.startswith(incomplete)]

    def _registry(self) -> Any:
        from experiments.cli.lists import registry_of

        return registry_of(self._kind)
