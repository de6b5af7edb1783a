"""Where a model runs and in which numbers; and memory running out there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vlmcli.errors import OutOfMemory, UsageError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# What torch's CPU allocator says; it raises a plain RuntimeError.
_HOST_MEMORY_MESSAGES = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


def pick_device(wanted: str = "auto") -> torch.device:
    """``auto`` (cuda, else mps, else cpu), ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` -> a device that is there.

    Raises UsageError for a name that means nothing and for a device this machine does not have.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"unknown device {wanted!r}", hint="use auto, cpu, cuda, cuda:N or mps") from None
    if not _is_there(device):
        raise UsageError(f"this machine has no device {wanted!r} that torch can use", hint="use --device auto or cpu")
    return device


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """``auto`` is float32 on a CPU, else bfloat16 (float16 on GPUs without it). Raises UsageError."""
    if wanted != "auto":
        try:
            return _DTYPES[wanted]
        except KeyError:
            raise UsageError(f"unknown dtype {wanted!r}", hint=f"use auto, {', '.join(_DTYPES)}") from None
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


@contextmanager
def memory_guard(doing: str) -> Iterator[None]:
    """Turn every way in which memory runs out into OutOfMemory; ``doing`` completes "out of memory while ..."."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise _out_of_memory(doing) from None
    except RuntimeError as error:
        if any(message in str(error) for message in _HOST_MEMORY_MESSAGES):
            raise _out_of_memory(doing) from None
        raise


def _out_of_memory(doing: str) -> OutOfMemory:
    hint = "use a smaller model or image, fewer images, --dtype bfloat16, or --device cpu"
    return OutOfMemory(f"out of memory while {doing}", hint=hint)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or (device.type == "mps" and _has_mps())
