"""Options with a closed list of values: the parser lists it, completes from it and refuses others.

Of settings the lists stand here once more, for `--help` must not wait until settings are loaded; a
test compares the two. Names of registries are asked for when one is given.
"""

from __future__ import annotations

from collections.abc import Sequence
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
