"""Modules that bring the inputs of a fusion network together, by name in a registry."""

from privfedmm.fusions.registry import FUSIONS, FusionEntry

__all__ = ["FUSIONS", "FusionEntry"]
