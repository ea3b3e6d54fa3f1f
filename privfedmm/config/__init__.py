"""The configuration of a run: its sections, how it is resolved, and what each setting means."""

from privfedmm.config.explain import explain
from privfedmm.config.protection import DPSettings, SecureSettings
from privfedmm.config.resolve import (
    as_meant,
    picked,
    read_toml,
    resolve,
    resolve_saved,
    settled,
    to_toml,
)
from privfedmm.config.sections import EvaluationSettings, RunConfig
from privfedmm.config.tuned import TunedSettings

__all__ = ["DPSettings", "EvaluationSettings", "RunConfig", "SecureSettings", "TunedSettings",
           "as_meant", "explain", "picked", "read_toml", "resolve", "resolve_saved", "settled",
           "to_toml"]
