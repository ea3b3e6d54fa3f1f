"""`privfedmm recommend BUNDLE --rows`: one user's device, from a released model and own rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from privfedmm.assemble import algorithm_of, plan_of
from privfedmm.base.errors import UserError
from privfedmm.data import Catalogue, DataError, read_own_rows
from privfedmm.federation import Saved
from privfedmm.releases.bundle import Bundle
from privfedmm.runs.recommend import ranked


def recommend_own(folder: Path, rows: Path, top: int, explain: bool) -> dict[str, Any]:
    """Return the `top` items for the user whose rows a file holds, from a bundle alone.

    What the user's device would keep (a user vector, a taste, a group, rows of its own) is trained
    here, by the method's own step on the device and against what was released; no other user's row
    and nothing of the server's step comes in, and nothing is written. Raises UserError for a folder
    that is no bundle and for rows that do not fit it.
    """
    bundle = Bundle.read(folder)
    try:
        shard, unknown = read_own_rows(
            rows, bundle.items, bundle.timed, bundle.config.reading)
    except DataError as error:
        raise UserError(f"--rows: {error}") from error
    catalogue = Catalogue(bundle.config.dataset, bundle.items, bundle.features, {}, bundle.present,
                          "")
    data = replace(catalogue.with_rows(1, 0, shard), user_ids=shard.user_ids, cold=bundle.cold,
                   items=pd.DataFrame({"title": bundle.titles}))
    planned = plan_of(bundle.config, data, bundle.users)
    algorithm = algorithm_of(bundle.config, data, planned, bundle.users)
    fresh = algorithm.to_saved(algorithm.initial_state(), algorithm.initial_clients())
    try:
        state, clients = algorithm.from_saved(Saved(bundle.model, fresh.devices))
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"recommend: the model of {folder} does not fit its config ({error}); ask "
                        "for the bundle anew") from error
    algorithm.adopt(state, clients, np.arange(1))
    user = str(data.user_ids[0])
    return {"user": user, "model": f"released, round {state.round}", "claim": list(bundle.claim),
            "rows_of_unknown_items": unknown,
            **ranked(data, algorithm, state, clients, user, top, explain)}
