"""privfedmm: group-wise multimodal federated recommendation behind a privacy gate."""

__version__ = "0.1.0"
