"""A folder in Hugging Face layout: which files are its weights, and whether it can be loaded safely.

Pickles are never opened: they can run code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlmcli.errors import ModelError
from vlmcli.weights.damage import AGAIN
from vlmcli.weights.safetensors import Weight, check_safetensors, listed

CONFIGURATION = ("*.json", "*.txt", "*.model", "*.jinja")
"""The files of a checkpoint that hold no weights."""

READ = ("*.safetensors", *CONFIGURATION)
"""The files of a checkpoint that transformers reads."""

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def check_folder(folder: Path, weights: bool = True) -> None:
    """Check that ``folder`` holds a readable config.json and, with ``weights``, whole safetensors files.

    Raises ModelError.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(f"{folder} is no checkpoint: it has no config.json", _other_weights(folder))
    _read_json(config)
    for file in weight_files(folder) if weights else ():
        check_safetensors(file)


def checkpoint_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a checkpoint in ``folder``, in the order of their names."""
    return tuple(sorted({file for pattern in READ for file in folder.glob(pattern) if file.is_file()}))


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files that make up the checkpoint, in order.

    One ``model.safetensors``, else the shards named by the index, else every safetensors file there is. Raises
    ModelError where a shard is missing or there are no safetensors weights at all.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if index.is_file():
        return _shards(index)
    files = tuple(sorted(folder.glob("*.safetensors")))
    if files:
        return files
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder} holds its weights as a pickle only ({pickles[0]}), which can run code when it is opened",
            "take a revision with .safetensors files, or convert them: save_pretrained writes safetensors",
        )
    raise ModelError(f"{folder} holds no safetensors weights", "a checkpoint has model.safetensors beside config.json")


def stored_weights(folder: Path) -> tuple[Weight, ...]:
    """List the checkpoint's tensors from the headers of its safetensors files alone, in the order of the files.

    Whether the tensors' bytes are there is not looked at. Raises ModelError as weight_files, and for a bad header.
    """
    return tuple(weight for file in weight_files(folder) for weight in listed(file))


def _other_weights(folder: Path) -> str:
    """A hint for a folder that is no checkpoint: a GGUF file in it may be what was meant."""
    found = next(iter(sorted(folder.glob("*.gguf"))), None)
    return f"name the file: {found}" if found else "see what save_pretrained writes"


def _shards(index: Path) -> tuple[Path, ...]:
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ModelError(f"{index} names no weight files", AGAIN)
    names = sorted(set(weight_map.values()))
    if outside := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
        raise ModelError(f"{index} names {outside[0]!r}, which is no safetensors file beside it")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ModelError(
            f"{index.parent} is incomplete: {len(missing)} of {len(names)} weight files are missing ({missing[0]} ...)",
            AGAIN,
        )
    return tuple(index.parent / name for name in names)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}", AGAIN) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object", AGAIN)
    return content
