"""What a setting means: path, type, default, range and a sentence, read off the models."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from privfedmm.base.errors import UserError
from privfedmm.base.settings import Settings
from privfedmm.config.sections import RunConfig
from privfedmm.methods.registry import METHODS


@dataclass(frozen=True)
class Setting:
    """This says what one setting means.

    path: its dotted path, as --set takes it. section: whether it holds other settings.
    """

    path: str
    type: str
    default: str
    range: str
    meaning: str
    section: bool = False


def settings_of(model: type[Settings], prefix: str = "") -> Iterator[Setting]:
    """Yield all settings of a model with dotted paths, each section followed by those it holds."""
    for name, field in model.model_fields.items():
        inner = _section(field)
        path = f"{prefix}{name}"
        meaning = " ".join((field.description or (_first(inner) if inner else "")).split())
        if inner is None or inner is Settings:
            yield Setting(path, _type(field.annotation), _default(field), _range(field), meaning)
        else:
            yield Setting(path, "section", "", "", meaning, True)
            yield from settings_of(inner, f"{path}.")


def every_setting() -> list[Setting]:
    """Return all settings of a run, and of registered methods that have a model of their own."""
    every = list(settings_of(RunConfig))
    for entry in METHODS:
        if entry.section == "settings":
            every += settings_of(entry.settings, f"{entry.name}.")
    return every


def explain(path: str) -> list[Setting]:
    """Return the setting of a dotted path, and where it is a section all that it holds.

    Settings of a registered method are also found as `METHOD.NAME`. Raises UserError for a path
    that is not there, with the nearest ones.
    """
    every = every_setting()
    found = [s for s in every if s.path == path or s.path.startswith(f"{path}.")]
    if not found:
        last = path.rpartition(".")[2]
        near = [s.path for s in every if s.path.rpartition(".")[2] == last] or [
            s.path for s in every if last in s.path]
        hint = f"; is it {', '.join(near[:5])}?" if near else (
            "; `privfedmm config explain` lists all")
        raise UserError(f"config explain: there is no setting {path!r}{hint}")
    return found


def _section(field: FieldInfo) -> type[Settings] | None:
    """The model of a field that is a section, also where it may be absent."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Settings):
            return kind
    return None


def _first(model: type[Settings]) -> str:
    return (model.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


def _type(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_type(k) for k in get_args(kind) if k is not type(None))
    if get_origin(kind) is Literal:
        return " | ".join(str(k) for k in get_args(kind))
    if get_origin(kind) is tuple:
        return "list"
    if get_origin(kind) is dict:
        return "names with values"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(
        getattr(kind, "__name__", ""), getattr(kind, "__name__", str(kind)))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return shown(value)


def shown(value: object) -> str:
    """Return a value of a setting as tables show it."""
    if value is None or value == {}:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _range(field: FieldInfo) -> str:
    signs = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}
    found = list(field.metadata)
    for kind in get_args(field.annotation):
        if get_origin(kind) is Annotated:
            for more in get_args(kind)[1:]:
                found += more.metadata if isinstance(more, FieldInfo) else [more]
    out = []
    for bound in found:
        for kind, sign in signs.items():
            if isinstance(bound, kind):
                out.append(f"{sign} {getattr(bound, kind.__name__.lower()):g}")
    return ", ".join(out)
