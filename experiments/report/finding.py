"""Which runs are below some folders, put together by what they are: one group an identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from privfedmm.base.errors import UserError
from privfedmm.runs import identity
from privfedmm.runs.differences import differing, shown
from privfedmm.runs.finished import RECORD, RecordError, read_ranks, read_record
from privfedmm.runs.recommend import BUNDLE
from privfedmm.runs.record import SameData, same_data

_MOST = 4  # settings that have a column each; more of them share one
NO_EPSILON = "none"


@dataclass
class Group:
    """This is a group of runs that differ in their seed alone.

    label: the name that the runs were given. data: what runs share whose figures compare, as of
    `same_data`. settings: all of them, by dotted path. chosen: those that are not their method's
    defaults. doubles: of runs that are there twice, a sentence each.
    """

    label: str
    data: SameData
    settings: dict[str, Any]
    chosen: dict[str, Any]
    seeds: dict[int, Path] = field(default_factory=dict)
    doubles: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """These are the runs below some folders.

    every: in the order in which they were found. damaged: what could not be read, a sentence each.
    """

    every: list[Group]
    damaged: list[str]

    @property
    def groups(self) -> dict[str, Group]:
        """Return the groups by a name that is theirs alone."""
        return _named(self.every)

    @property
    def left_out(self) -> list[str]:
        """Return what could not be read, in sentences."""
        return [f"Left out: {text}" for text in self.damaged]

    @property
    def notes(self) -> list[str]:
        """Return what is left out, in sentences."""
        return [*self.left_out, *(text for group in self.every for text in group.doubles)]

    def by_data(self) -> list[Found]:
        """Return the runs of each data set by themselves, in the order in which they were found.

        Of what cannot be read it is not known which data it is of: it stays with the runs where
        there is one data set, and with none of several.
        """
        apart: list[list[Group]] = []
        for group in self.every:
            place = next((them for them in apart if any(
                group.data.alike(one.data) for one in them)), None)
            if place is None:
                apart.append([group])
            else:
                place.append(group)
        return [self] if len(apart) == 1 else [
            replace(self, every=groups, damaged=[]) for groups in apart]


def find(folders: Iterable[Path]) -> Found:
    """Return the finished runs below the folders. Raises UserError where there is none.

    A bundle beside them is no run: it has the record, and not the ranks of every user that the
    tables are made from.
    """
    places = list(folders)
    groups: dict[str, Group] = {}
    damaged, bundles = [], []
    for file in dict.fromkeys(f for folder in places for f in sorted(folder.rglob(RECORD))):
        folder = file.parent
        if (folder / BUNDLE).exists():
            bundles.append(folder)
            continue
        try:
            record = read_record(folder)
            read_ranks(folder)
            settings = identity.settings_of(record, folder)
        except (RecordError, UserError) as error:
            damaged.append(str(error))
            continue
        label = record["label"] or f"{record['method']} ({record['backbone']})"
        key = identity.identity(settings, record["dataset"]["sha256"], seeds_apart=False)
        group = groups.setdefault(key, Group(
            label, same_data(record), settings, identity.chosen(settings)))
        first = group.seeds.setdefault(record["seed"], folder)
        if first is not folder:
            group.doubles.append(
                f"{folder} is the run of {first} again, with the same settings, data and seed: the "
                f"figures are of {first}.")
    if not groups and bundles:
        raise UserError(f"report: {bundles[0]} is a bundle, which holds no user's ranks; give the "
                        "folder of the run that it was released from")
    if not groups:
        raise UserError("; ".join([
            "report: there is no finished run below " + ", ".join(str(f) for f in places),
            *damaged]))
    return Found(list(groups.values()), damaged)


def _named(groups: list[Group]) -> dict[str, Group]:
    """Groups by label; where several have one, by what they differ in besides."""
    out: dict[str, Group] = {}
    for group in groups:
        same = [g for g in groups if g.label == group.label]
        name = group.label
        if len(same) > 1:
            words = [f"{_short(path)} {_value(group, path)}" for path in _differing(same)[:_MOST]]
            name += f" ({', '.join(words)})" if words else ""
        number = 2
        while name in out:  # settings that nobody chose, or many
            name, number = f"{group.label} #{number}", number + 1
        out[name] = group
    return out


def _differing(groups: list[Group]) -> list[str]:
    """The chosen settings in which groups are not all alike, the budget first."""
    paths = {path for group in groups for path in differing(group.chosen, groups[0].chosen)}
    return sorted(paths, key=lambda path: (path != "dp.epsilon", path))


def columns(groups: list[Group]) -> list[str]:
    """Return the heads of the columns that say what groups of runs are: the budget always, and
    what else differs."""
    more = [path for path in _differing(groups) if path != "dp.epsilon"]
    return ["epsilon", *(more if len(more) <= _MOST else ["settings"] if more else [])]


def cells(group: Group, groups: list[Group]) -> list[str]:
    """Return the cells of one group below the heads of `columns`."""
    out = []
    for head in columns(groups):
        if head == "epsilon":
            out.append(_epsilon(group))
        elif head == "settings":
            more = [p for p in _differing(groups) if p in group.chosen and p != "dp.epsilon"]
            out.append("; ".join(f"{path}={_value(group, path)}" for path in more))
        else:
            out.append(_value(group, head))
    return out


def unlike(groups: Mapping[str, Group]) -> str:
    """Return in words in which chosen settings groups differ, under the names that they are given;
    nothing where they are alike."""
    return "; ".join(
        f"{path} " + ", ".join(f"{_value(group, path)} on {name}" for name, group in groups.items())
        for path in _differing(list(groups.values())))


def _epsilon(group: Group) -> str:
    value = group.settings.get("dp.epsilon")
    return NO_EPSILON if value is None else f"{float(value):g}"


def _value(group: Group, path: str) -> str:
    if path == "dp.epsilon":
        return _epsilon(group)
    return shown(group.settings, path).strip('"') if path in group.settings else "-"


def _short(path: str) -> str:
    return path.rpartition(".")[2]
