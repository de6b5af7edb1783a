"""What a model needs of memory, and what is free: compared before the first weight is read.

Weights on a CPU in the format of their file are mapped, not copied; in another one, or on another device, each tensor
is read from the mapped file and converted.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from vlmcli.errors import OutOfMemory
from vlmcli.weights.folder import stored_weights
from vlmcli.weights.gguf import check_gguf
from vlmcli.weights.resolve import Checkpoint

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def needed_bytes(checkpoint: Checkpoint, dtype: torch.dtype) -> int:
    """What the weights take once they are loaded: floating ones in ``dtype``, read from the files' headers alone.

    Raises ModelError for files that cannot be read.
    """
    if checkpoint.parts:
        whole = {(part.folder, part.gguf): part for part in checkpoint.parts.values()}
        return sum(needed_bytes(part, dtype) for part in whole.values())
    if checkpoint.gguf:
        tensors = check_gguf(checkpoint.folder / checkpoint.gguf).tensors
        return sum(math.prod(tensor.shape) for tensor in tensors) * dtype.itemsize
    weights = stored_weights(checkpoint.folder)
    return sum(w.elements * dtype.itemsize if "float" in w.dtype else w.size_bytes for w in weights)


def free_bytes(device: torch.device) -> int | None:
    """What can still be had on a device, the disk's cache given up; None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return None if device.type != "cpu" else _least(_available(_MEMINFO), _left_to_group(_GROUP))


def check_memory(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device, free: int | None) -> None:
    """Raise OutOfMemory, with both sizes, for weights that are larger than what is ``free``."""
    needed = needed_bytes(checkpoint, dtype)
    if free is not None and needed > free:
        raise OutOfMemory(
            f"{checkpoint.id} needs {needed / 1e9:.1f} GB for its weights in {str(dtype).removeprefix('torch.')}, "
            f"and {free / 1e9:.1f} GB are free on {device}",
            hint="use a smaller model, --dtype bfloat16, or another --device",
        )


def _least(*sizes: int | None) -> int | None:
    return min((size for size in sizes if size is not None), default=None)


def _available(meminfo: Path) -> int | None:
    """Linux's own estimate of what programs can take without swapping."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _left_to_group(folder: Path) -> int | None:
    """What a container may still take: its limit, less what cannot be given back."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(stat["file"]))
    except (OSError, ValueError, KeyError):
        return None  # "max": no limit
