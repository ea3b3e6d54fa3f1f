"""Client models that GFMFR plugs into, one a file; only `build` knows them all."""

from privfedmm.backbones.fedrap import FedRAP
from privfedmm.backbones.mf import MatrixFactorisation
from privfedmm.backbones.protocol import Backbone, Gradients, Network

__all__ = ["Backbone", "FedRAP", "Gradients", "MatrixFactorisation", "Network", "build"]


def build(name: str, dim: int) -> Backbone:
    """The backbone of that name with latent size dim. Raises ValueError for an unknown name."""
    if name == "mf":
        return MatrixFactorisation(dim)
    if name == "fedrap":
        return FedRAP(dim)
    raise ValueError(f"unknown backbone {name!r}; known are mf and fedrap")
