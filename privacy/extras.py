"""Import libraries that a plain installation leaves out; a sentence says which one is absent."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


class MissingExtra(ImportError):
    """Report an optional library that is not installed, what needs it and how to get it."""


def need(module: str, extra: str, what: str) -> Any:
    """Import a module and return it. what: what needs it, as the beginning of a sentence.

    Raises MissingExtra where it is not installed, with the extra of privfedmm that brings it.
    """
    check(module, extra, what)
    return import_module(module)


def check(module: str, extra: str, what: str) -> None:
    """Do as `need`, without importing anything. Raises MissingExtra where the module is not
    installed."""
    top = module.partition(".")[0]
    if find_spec(top) is None:
        raise MissingExtra(f"{what} needs the package {top}, which is not installed; get it with: "
                           f"pip install 'privfedmm[{extra}]'", name=top)
