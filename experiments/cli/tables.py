"""What a command prints for people."""

from __future__ import annotations

import json
import math
from typing import Any


def show_books(found: dict[str, Any], as_json: bool) -> None:
    """Print what nodes' users have spent, run by run, and whoever has spent most in all."""
    if as_json:
        print(json.dumps(found))
        return
    for row in found["runs"]:
        budget = "no budget" if row["epsilon"] is None else (
            f"of {row['epsilon']:.4g} at delta {row['delta']:.3g}, trust {row['trust']}")
        print(f"run {row['run'][:8]}, {row['folder']}: {row['users_that_uploaded']} of "
              f"{row['users']} users uploaded, in {row['attempts']} attempts at {row['rounds']} "
              f"rounds; a user has spent at most {_spent(row['epsilon_spent'])} {budget}")
    if len({row["run"] for row in found["runs"]}) > 1:
        user, worst = max(found["spent_in_all"].items(),
                          key=lambda pair: math.inf if pair[1] is None else pair[1])
        print(f"all runs together: user {user} has spent most, {_spent(worst)} at delta "
              f"{found['delta_of_all']:.3g}")


def _spent(value: float | None) -> str:
    return "epsilon without a bound" if value is None else f"epsilon {value:.4g}"
