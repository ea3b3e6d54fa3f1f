"""What text and vision models of transformers share: loading, device, precision, towers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from privacy.extras import MissingExtra, need
from privfedmm.encoders.protocol import EncoderError

_TWO_TOWERS = ("clip", "siglip", "siglip2", "chinese_clip", "altclip", "align", "metaclip_2")


@dataclass(frozen=True)
class Place:
    """A place is a torch device and the precision that pays there: half on cuda, single
    elsewhere."""

    device: str

    @property
    def precision(self) -> str:
        """Return the name of the precision, `half` or `single`."""
        return "half" if self.device.startswith("cuda") else "single"

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision as torch names it."""
        return torch.float16 if self.precision == "half" else torch.float32


def place(device: str) -> Place:
    """Return a device by name; `auto` is cuda where there is one. Raises EncoderError for no
    device."""
    if device == "auto":
        return Place("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EncoderError(f"encoders.device: torch cannot use {device!r} here; "
                           "use cpu, or leave auto") from error
    return Place(device)


def towers(config: Mapping[str, Any]) -> bool:
    """Return whether a model has a text and an image tower (CLIP and its kin)."""
    return config.get("model_type") in _TWO_TOWERS


def load_model(folder: Path, where: Place) -> Any:
    """Load a transformers model for inference, from the folder alone; code in it is not run.

    Raises EncoderError where transformers cannot read it.
    """
    try:
        transformers = need("transformers", "encoders", f"the model in {folder}")
    except MissingExtra as error:
        raise EncoderError(str(error)) from error
    from safetensors import SafetensorError

    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        model = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, dtype=where.dtype)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError,
            SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise EncoderError(f"{folder} cannot be read as a transformers model ({first}); "
                           "copy it again or choose another") from error
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()
    return model.to(where.device).eval()


def vectors(output: Any) -> Tensor:
    """Return the rows [n, F] of a tower, which transformers 4 gives bare and 5 as the pooled
    output."""
    return output if isinstance(output, Tensor) else output.pooler_output
