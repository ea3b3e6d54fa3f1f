"""Federated methods: what one declares of itself, and the registry of all there are."""

from privfedmm.base.settings import Settings
from privfedmm.methods.base import TensorMethod
from privfedmm.methods.entry import Asked, Build, Can, Method, Public
from privfedmm.methods.registry import METHODS

__all__ = ["METHODS", "Asked", "Build", "Can", "Method", "Public", "Settings", "TensorMethod"]
