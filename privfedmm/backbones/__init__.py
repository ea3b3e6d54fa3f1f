"""Client models that GFMFR plugs into, one a file, by name in a registry."""

from privfedmm.backbones.base import PlainBackbone
from privfedmm.backbones.entry import BackboneEntry
from privfedmm.backbones.protocol import Backbone, Gradients, Network
from privfedmm.backbones.registry import BACKBONES

__all__ = ["BACKBONES", "Backbone", "BackboneEntry", "Gradients", "Network", "PlainBackbone",
           "build"]


def build(name: str, dim: int) -> Backbone:
    """Return the backbone of that name with latent size dim. Raises ValueError for an unknown name.
    """
    return BACKBONES.get(name).build(dim)
