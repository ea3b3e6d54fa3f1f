"""TensorBoard: event files in the run folder, under tensorboard/."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """This logger is a writer of event files."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[
            Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()


def opened(folder: Path, title: str, settings: Mapping[str, str]) -> TensorBoard:
    """Begin an event file. The settings are in the folder already, as config.toml."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    return TensorBoard(EventFileWriter(str(folder / "tensorboard")))
