"""Many runs from one file: every variant with every seed, each resumable on its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import run as runs
from experiments.config import read_toml, resolve
from experiments.errors import UserError


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted paths."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= flatten(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out


def run_sweep(file: Path, out: Path, dataset: str | None, say: Callable[[str], None]) -> None:
    """Play all runs of a sweep file, on `dataset` where given; a variant may name its own seeds.

    A run that fails does not stop the others. Raises UserError for a malformed file, and at the
    end where runs failed.
    """
    plan = read_toml(file)
    unknown = plan.keys() - {"seeds", "base", "variants"}
    if unknown or not plan.get("seeds") or not plan.get("variants"):
        raise UserError(f"{file.name}: needs seeds = [...] and [[variants]], maybe [base]"
                        + (f"; unknown: {', '.join(sorted(unknown))}" if unknown else ""))
    failed: list[str] = []
    for variant in plan["variants"]:
        if not variant.get("label"):
            raise UserError(f"{file.name}: every [[variants]] needs a label")
        settings = {k: v for k, v in variant.items() if k != "seeds"}
        for seed in variant.get("seeds", plan["seeds"]):
            flags = flatten(plan.get("base", {})) | flatten(settings) | {"seed": seed}
            if dataset is not None:
                flags["dataset"] = dataset
            config = resolve(None, flags)
            folder = out / variant["label"].replace(" ", "_").replace("/", "_") / f"seed{seed}"
            if (folder / runs.RECORD).exists():
                continue
            try:
                if (folder / runs.CONFIG).exists():
                    record = runs.resume(folder, lambda row: None)
                else:
                    record = runs.start(config, folder, lambda row: None)
            except UserError as error:
                failed.append(f"{variant['label']} seed {seed}: {error}")
                say(failed[-1])
                continue
            metrics = record["metrics"]
            say(f"{variant['label']} seed {seed}: validation "
                f"{metrics['validation']['ndcg@50']:.4f}, test {metrics['test']['ndcg@50']:.4f}")
    if failed:
        raise UserError(f"{len(failed)} runs did not finish; the first: {failed[0]}")
