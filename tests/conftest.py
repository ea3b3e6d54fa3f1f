"""Shared pieces of the tests: where the golden values and the real data are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# Neither is about the code: on a busy machine an example may take any time, and so may its making.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of the tests' own, in processes they start as well: never the user's."""
    before, folder = os.environ.get("PRIVFEDMM_STATE"), tmp_path_factory.mktemp("state")
    os.environ["PRIVFEDMM_STATE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["PRIVFEDMM_STATE"]
    else:
        os.environ["PRIVFEDMM_STATE"] = before


@pytest.fixture(scope="session")
def golden() -> Path:
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; research-only, so a checkout may well lack it."""
    given = os.environ.get("PRIVFEDMM_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "ml100k_posters").is_dir():
        pytest.skip("real data absent: set PRIVFEDMM_DATA to the folder that holds ml100k_posters")
    return folder
