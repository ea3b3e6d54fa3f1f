"""How a function becomes a command, for all of them."""

from __future__ import annotations

import inspect
from typing import Any

from click import Context
from typer.core import TyperArgument, TyperCommand, TyperOption
from typer.utils import get_params_from_function

from experiments.cli.talk import QUIET, VERBOSE, loud, talk_of
from privfedmm.base.errors import UserError

_SAYS = {QUIET: "Show results and errors only.",
         VERBOSE: "Show details as well, and where an error came from."}


def volume() -> list[TyperOption]:
    """Return the options by which every command shows less or more."""
    return [TyperOption(param_decls=[f"--{name}", f"-{name[0]}"], type=bool, is_flag=True,
                        default=False, expose_value=False, callback=loud, help=says)
            for name, says in _SAYS.items()]


class Command(TyperCommand):
    """This command shows less or more when asked, logs why it ends, and says in its `--help` what
    its positional arguments mean.

    typer before 0.21, which Flower asks for, sets the help of an argument before it calls click's
    constructor; since 8.5 click has an attribute of that name and sets it to None. The sentences
    are still in the signature.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = {parameter.name for parameter in self.params}
        self.params += [one for one in volume() if one.name not in own]
        if self.callback is None:
            return
        written = get_params_from_function(inspect.unwrap(self.callback))
        for argument in self.params:
            if isinstance(argument, TyperArgument) and argument.help is None:
                argument.help = written[str(argument.name)].default.help

    def invoke(self, ctx: Context) -> Any:
        """Run the command, and note in its log why it ends where that is an error."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            talk_of(ctx).failed(error)
            raise
