"""`privfedmm methods` and its likes: what is registered; `privfedmm config explain`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.cli.common import JsonOption

if TYPE_CHECKING:
    from privfedmm.base.registry import Registry
    from privfedmm.config.explain import Setting

KINDS = ("methods", "backbones", "groupings", "fusions", "baselines", "layouts", "datasets",
         "aggregators", "noises", "metrics")


def registry_of(kind: str) -> Registry[Any]:
    """Return the registry whose entries a list shows."""
    from privfedmm.backbones import BACKBONES
    from privfedmm.baselines import BASELINES
    from privfedmm.data.layouts import LAYOUTS
    from privfedmm.data.sources import SOURCES
    from privfedmm.evaluation import METRICS
    from privfedmm.fusions import FUSIONS
    from privfedmm.groupings import GROUPINGS
    from privfedmm.mechanisms.aggregators import AGGREGATORS
    from privfedmm.mechanisms.noises import NOISES
    from privfedmm.methods import METHODS

    found: dict[str, Registry[Any]] = {
        "methods": METHODS, "baselines": BASELINES, "layouts": LAYOUTS, "datasets": SOURCES,
        "noises": NOISES, "backbones": BACKBONES,
        "groupings": GROUPINGS, "fusions": FUSIONS, "aggregators": AGGREGATORS,
        "metrics": METRICS}
    return found[kind]


def described(kind: str) -> list[dict[str, Any]]:
    """Return name, source package, summary, capabilities, reference and settings of every entry."""
    registry = registry_of(kind)
    return [{
        "name": entry.name, "from": registry.source(entry.name),
        "what": getattr(entry, "summary", ""),
        "can": _can(entry), "reference": getattr(entry, "reference", ""),
        "settings": _settings(entry, registry)} for entry in registry] + [
        {"name": name, "from": "", "what": why, "can": [], "reference": "", "settings": []}
        for name, why in registry.broken().items()]


def _can(entry: Any) -> list[str]:
    """Capabilities of an entry: in its words, those of its `can`, or its own flags that are on."""
    says = getattr(entry, "can", entry)
    if hasattr(says, "words"):
        words: list[str] = says.words()
        return words
    if not is_dataclass(entry):
        return []
    return [f.name for f in fields(entry) if getattr(entry, f.name) is True]


def _settings(entry: Any, registry: Registry[Any]) -> list[dict[str, str]]:
    """The settings that an entry looks at: of its own model, or of the section of its kind."""
    from privfedmm.config.explain import explain, settings_of

    section = getattr(entry, "section", registry.section)
    if not section:
        return []
    own = getattr(entry, "settings", None)
    found = ([replace(s, path=f"{section}.{s.path}") for s in settings_of(own)]
             if isinstance(own, type) else explain(section))
    reads = tuple(f"{section}.{path}" for path in getattr(entry, "reads", ()))
    defaults = _defaults(entry)
    return [{"path": s.path, "type": s.type, "default": _default(s, defaults), "range": s.range,
             "meaning": s.meaning} for s in found
            if not s.section and (not reads or any(
                s.path == path or s.path.startswith(f"{path}.") for path in reads))]


def _defaults(entry: Any) -> dict[str, dict[str, str]]:
    """What a method sets by itself: plain, with --dp-epsilon, under secure sums; path -> value."""
    if not hasattr(entry, "defaults"):
        return {}
    from privfedmm.config.explain import shown
    from privfedmm.methods.entry import Asked
    from privfedmm.runs.differences import flat

    asked = {"": Asked({}, False, False, False), "with --dp-epsilon": Asked({}, True, False, False),
             "under secure sums": Asked({}, False, True, False)}
    return {when: {path: shown(value) for path, value in flat(entry.defaults(one)).items()}
            for when, one in asked.items()}


def _default(setting: Setting, defaults: Mapping[str, Mapping[str, str]]) -> str:
    """The default of a setting, and where it is another under a budget or secure sums, that too."""
    usual = defaults.get("", {}).get(setting.path, setting.default)
    others = [f"{when} {found[setting.path]}" for when, found in defaults.items()
              if when and found.get(setting.path, usual) != usual]
    return "; ".join([usual, *others])


def lister(kind: str) -> Callable[..., None]:
    """Return the command that lists the entries of a kind."""

    def show(
        name: Annotated[
            str | None, typer.Argument(help="One of them, with its settings.")] = None,
        json_: JsonOption = False,
    ) -> None:
        from rich.table import Table

        from experiments.cli.talk import results
        from privfedmm.base.errors import UserError

        rows = described(kind)
        if name is not None:
            rows = [row for row in rows if row["name"] == name]
            if not rows:
                raise UserError(f"{kind}: {registry_of(kind).unknown(name)}")
        if json_:
            print(json.dumps(rows))
            return
        console = results()
        table = Table(title=kind)
        for column in ("name", "from", "what", "can", "reference"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(row["name"], row["from"], row["what"], ", ".join(row["can"]),
                          row["reference"])
        console.print(table, highlight=False)
        if name is not None:
            _print_settings(rows[0]["settings"])
        elif registry_of(kind).section:
            _print_settings(max((row["settings"] for row in rows), key=len, default=[]))
        elif any(row["settings"] for row in rows):
            console.print(f"settings of one: privfedmm {kind} NAME", highlight=False)

    show.__doc__ = f"The {kind} there are, with the package each comes from."
    return show


def config_explain(
    path: Annotated[str | None, typer.Argument(
        help="Dotted path, as --set takes it: dp.epsilon, algorithm.local; none: all.")] = None,
    json_: JsonOption = False,
) -> None:
    """What a setting means: type, default, range and a sentence; of a section all that it holds."""
    from privfedmm.config.explain import every_setting, explain

    found = every_setting() if path is None else explain(path)
    rows = [vars(setting) for setting in found]
    if json_:
        print(json.dumps(rows))
    else:
        _print_settings(rows)


def _print_settings(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from experiments.cli.talk import results

    table = Table()
    for column in ("path", "type", "default", "range", "meaning"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[c]) for c in ("path", "type", "default", "range", "meaning")))
    results().print(table, highlight=False)
