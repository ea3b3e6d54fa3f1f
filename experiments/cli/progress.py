"""What a person sees while a run goes on, and when it is over. All of it on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.cli.talk import Talk

JUDGED = "ndcg@50"


class RunProgress:
    """This context manager shows a bar with round, loss, validation metric, seconds and bytes."""

    def __init__(self, console: Talk, rounds: int) -> None:
        self._bar = Progress(
            TextColumn("round"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal or console.quiet,
        )
        self._task = self._bar.add_task("run", total=rounds, note="starting")
        self._console = console

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def describe(self, lines: list[str]) -> None:
        """Show what was read of the data, and what was dropped or guessed."""
        self._console.print("data", style="bold")
        for line in lines:
            self._console.print(f"  {line}", highlight=False, soft_wrap=True)

    def announce(self, lines: list[str]) -> None:
        """Show what the run promises."""
        self._console.print("privacy statement", style="bold")
        for line in lines:
            self._console.print(f"  {line}", highlight=False, soft_wrap=True)

    def __call__(self, row: dict[str, Any]) -> None:
        """Show a finished round."""
        # A loss of 0 is one that no node told.
        note = f"loss {row['simulation_loss']:.4f}  " if row["simulation_loss"] else ""
        if "validation" in row:
            note += f"val ndcg@50 {row['validation']['ndcg@50']:.4f}  "
        note += (f"{row['seconds']:.2f} s  up {row['bytes_up_per_client'] / 1024:.0f} KiB  "
                 f"down {row['bytes_down_per_client'] / 1024:.0f} KiB a client")
        for warned in row.get("simulation_warnings", []):
            self._console.print(warned, style="bold", highlight=False, soft_wrap=True)
        self._bar.update(self._task, completed=row["round"], note=note)
        if self._console.is_terminal:
            self._console.note(f"round {row['round']}: {note}")
        else:
            self._console.print(f"round {row['round']}: {note}", highlight=False, soft_wrap=True)


def judged(protocol: dict[str, Any]) -> list[str]:
    """Return what one must know to read the figures: several targets a user, fewer rivals than were
    asked for, lists as long as the data."""
    if "targets" not in protocol:  # a record of an earlier version
        return []
    lines, held, few = [], protocol["targets"]["test"], protocol.get("negatives")
    if held["max"] > 1:
        lines.append(f"held-out items of a user in the test: {held['min']} to {held['max']}, "
                     f"{held['mean']:.1f} on average ({held['users']} users)")
    if protocol["further_held_out"]:
        lines.append(f"{protocol['further_held_out']} further held-out interactions are neither "
                     "targets nor candidates; --split given ranks them all")
    if few and few["users_with_fewer"]:
        lines.append(f"{few['users_with_fewer']} users have fewer than {few['asked']} items left "
                     f"to be ranked against: {few['smallest']} at least, {few['mean']:.1f} on "
                     "average")
    if protocol["metrics_note"]:
        lines.append(protocol["metrics_note"])
    return lines


def summary(console: Console, record: dict[str, Any], folder: str) -> None:
    """Print the result beside its baselines, what is claimed about privacy, and where it is
    kept."""
    # Late: --help must not wait for them.
    from privfedmm.runs.record import shown
    from privfedmm.runs.trust import BELOW, of_record, sentence

    data = record["dataset"]
    table = Table(title=f"{data['name']}: test metrics, {record['protocol']['ranking']} ranking "
                        f"({data['users']} users, {data['items']} items)")
    table.add_column("model")
    keys = shown(record)
    for key in keys:
        table.add_column(key, justify="right", no_wrap=True)
    ours = f"{record['method']} ({record['backbone']}), round {record['best_round']}"
    ndcg, better = of_record(record)
    table.add_row(ours, *(f"{record['metrics']['test'][k]:.4f}"
                          + (f" {BELOW}" if better and k == JUDGED else "") for k in keys),
                  style="bold")
    for name, line in record["baselines"].items():
        table.add_row(name, *(f"{line['test'][k]:.4f}" for k in keys))
    console.print(table)
    for line in judged(record["protocol"]):
        console.print(line, highlight=False, soft_wrap=True)
    if better:
        console.print(sentence(record["method"], ndcg, better), highlight=False, soft_wrap=True)
    if "stopped" in record:  # which earlier versions did not tell
        ended = record["stopped"]
        console.print(f"trained {ended['round']} rounds of at most {ended['of_at_most']}: "
                      f"{ended['why']}", highlight=False, soft_wrap=True)
    if record["cold_items"]:
        cold, gain = record["metrics"]["test_cold"], record["cold_items"]["ndcg@50_above_random"]
        console.print(
            f"{record['cold_items']['items']} cold items, ranked among themselves: ndcg@50 "
            f"{cold['ndcg@50']:.4f}, above random by {gain['mean']:.4f} "
            f"[{gain['low']:.4f}, {gain['high']:.4f}]", highlight=False)
    if data["missing"]:
        lacks = ", ".join(f"{name} {count}" for name, count in data["missing"].items())
        console.print(f"items that lack a modality: {lacks}", highlight=False)
    groups = record["groups"]
    if groups:
        text = f"groups: sizes {groups['sizes']}"
        if "adjusted_rand_index" in groups:
            text += f", adjusted Rand index with the planted ones " \
                    f"{groups['adjusted_rand_index']:.3f}"
        console.print(text, highlight=False)
    privacy = record["privacy"]
    if privacy["epsilon"] is None:
        console.print(f"epsilon: none ({privacy['reason']})", highlight=False)
    else:
        console.print(
            f"epsilon: {privacy['epsilon_spent']:.4g} spent of {privacy['epsilon']:.4g} at delta "
            f"{privacy['delta']:.3g}; {privacy['unit']} level, {privacy['adjacency']}, trust "
            f"{privacy['trust']}, noise {privacy['noise_source']}; what is not covered: "
            f"{folder}/record.json", highlight=False)
    console.print(f"wrote {folder}/record.json", highlight=False, soft_wrap=True)
