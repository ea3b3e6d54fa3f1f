"""Rounds told to TensorBoard, MLflow or Weights & Biases, each an extra, one a file."""

from privfedmm.loggers.entry import Logger, LoggerEntry
from privfedmm.loggers.told import ENTRIES, NAMES, Loggers, logging

__all__ = ["ENTRIES", "NAMES", "Logger", "LoggerEntry", "Loggers", "logging"]
