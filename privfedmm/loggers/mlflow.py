"""MLflow: a run at $MLFLOW_TRACKING_URI, else in the run folder, as mlflow.db."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EXPERIMENT = "privfedmm"


class MLflow:
    """This logger keeps a run of MLflow."""

    def __init__(self, client: Any, run: str) -> None:
        self._client, self._run = client, run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the figures of a step. MLflow's names have no @: ndcg@10 is called ndcg at 10."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run, metrics=[
            Metric(name.replace("@", " at "), value, now, step) for name, value in values.items()])

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run)


def opened(folder: Path, title: str, settings: Mapping[str, str]) -> MLflow:
    """Begin a run of the experiment privfedmm."""
    place = os.environ.get("MLFLOW_TRACKING_URI")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its libraries say of each other
        from mlflow import MlflowClient
        from mlflow.entities import Param

        client = MlflowClient(tracking_uri=place or f"sqlite:///{folder.absolute()}/mlflow.db")
        found = client.get_experiment_by_name(EXPERIMENT)
        # Nothing is stored beside figures; the place of files must be named all the same.
        files = None if place else (folder.absolute() / "mlflow").as_uri()
        experiment = (found.experiment_id if found
                      else client.create_experiment(EXPERIMENT, artifact_location=files))
        run = client.create_run(experiment, run_name=title).info.run_id
        client.log_batch(run, params=[Param(path, value) for path, value in settings.items()])
    return MLflow(client, run)
