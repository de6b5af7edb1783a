"""What a loaded model is, in a form that two processes can compare; and the process that starts quickly.

``python -m tests.quick FOLDER...`` prints a JSON object: the prints of the models in the folders, and what still waits.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any


def print_of(folder: Path) -> dict[str, Any]:
    """Load the model in a folder: its classes, its numbers, what its processor makes of a picture, and what it says."""
    from tests import tiny
    from vlmcli.models.load import load
    from vlmcli.models.vlm import Vlm
    from vlmcli.weights.resolve import Checkpoint

    loaded = load(Checkpoint(folder, folder.name, None, None), device="cpu")
    model, processor = loaded.model, loaded.processor
    seen = {
        "class": [f"{type(each).__module__}.{type(each).__qualname__}" for each in (loaded, model, processor)],
        "attention": model.config._attn_implementation,
        "modules": [type(module).__qualname__ for module in model.modules()],
        "weights": _digest({**dict(model.named_parameters()), **dict(model.named_buffers())}),
        "training": model.training,
    }
    images = getattr(processor, "image_processor", processor)
    if hasattr(images, "resample"):
        seen["pixels"] = _digest(dict(images(images=[tiny.picture(1, (50, 40))], return_tensors="pt")))
    return seen | (_said(loaded) if isinstance(loaded, Vlm) else {})


def _said(vlm: Any) -> dict[str, Any]:
    """Eight greedy tokens about a picture, and the distribution behind the last of them."""
    from tests import tiny
    from vlmcli.engine.decode import decode
    from vlmcli.inputs.chat import Prompt
    from vlmcli.types.chat import Message, Sampling

    pictures = (tiny.picture(3, (40, 40)),) if vlm.sees else ()
    inputs = vlm.prepare(Prompt((Message("user", "What is in the image?", len(pictures)),), pictures))
    events = list(decode(vlm, inputs, Sampling(max_tokens=8)))
    tensors = {name: value for name, value in inputs.tensors.items() if hasattr(value, "dtype")}
    drawn = decode(vlm, inputs, Sampling(max_tokens=4, temperature=1.0, seed=1))
    return {
        "inputs": _digest(tensors),
        "tokens": [event.id for event in events],
        "logprobs": [event.logprob for event in events],
        "drawn": [event.id for event in drawn],
    }


def _digest(tensors: dict[str, Any]) -> str:
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        parts = value if isinstance(value, (list, tuple)) else [value]
        for part in parts:
            tensor = torch.as_tensor(part).detach().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() and tensor.dim() else b"")
            digest.update(repr(tensor.item()).encode() if not tensor.dim() else b"")
    return digest.hexdigest()


def main(folders: list[str]) -> None:
    """Start quickly, print what came of it."""
    from vlmcli.models.quick import load_the_rest, start_quickly, still_waits

    started, prints, waits = start_quickly(), {}, []
    for folder in folders:
        prints[folder] = print_of(Path(folder))
        waits.append(still_waits())
    load_the_rest()
    import torch

    compiled = torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(1)).item()
    print(json.dumps({"started": started, "prints": prints, "waits": waits, "compiled": compiled}))


if __name__ == "__main__":
    main(sys.argv[1:])
