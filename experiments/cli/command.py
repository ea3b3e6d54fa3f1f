"""How a function becomes a command, for all of them."""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperArgument, TyperCommand
from typer.utils import get_params_from_function


class Command(TyperCommand):
    """This command says in its `--help` what its positional arguments mean.

    typer before 0.21, which Flower asks for, sets the help of an argument before it calls click's
    constructor; since 8.5 click has an attribute of that name and sets it to None. The sentences
    are still in the signature.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.callback is None:
            return
        written = get_params_from_function(inspect.unwrap(self.callback))
        for argument in self.params:
            if isinstance(argument, TyperArgument) and argument.help is None:
                argument.help = written[str(argument.name)].default.help
