"""Weights are held once: what has been converted out of a mapped file is let go at once.

transformers maps a safetensors file and converts tensor by tensor. The pages that were read stay in this process's
memory until the file is closed: half as much again for a bfloat16 file that becomes float32.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import core_model_loading

_MAPS = Path("/proc/self/maps")
_LEAST_BYTES = 1 << 20
_DONTNEED = 4  # MADV_DONTNEED of Linux: the pages of a file are read again if they are asked for again


@contextmanager
def let_go_when_converted() -> Iterator[None]:
    """While a model is loaded. Does nothing outside Linux, or where transformers goes about it in another way."""
    original = getattr(core_model_loading, "_materialize_copy", None)
    if original is None or sys.platform != "linux":
        yield
        return

    def materialize(tensor: Any, device: Any = None, dtype: Any = None) -> Tensor:
        source = tensor[...]
        copy: Tensor = original(source, device, dtype)
        if isinstance(source, Tensor) and copy.data_ptr() != source.data_ptr():
            let_go(source)
        return copy

    core_model_loading._materialize_copy = materialize
    try:
        yield
    finally:
        core_model_loading._materialize_copy = original


def let_go(tensor: Tensor) -> bool:
    """Take a tensor's pages out of this process's memory, if a file has them; False where they stay."""
    if tensor.device != torch.device("cpu") or not tensor.is_contiguous() or tensor.nbytes < _LEAST_BYTES:
        return False
    start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if not _of_weights_file(start, end):
        return False
    address, length = ctypes.c_void_p(start), ctypes.c_size_t(end - start)
    return bool(ctypes.CDLL(None).madvise(address, length, _DONTNEED) == 0)


def _of_weights_file(start: int, end: int) -> bool:
    """Whether one mapping of a safetensors file covers these addresses; memory of another kind would be lost."""
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        low, _, high = line.split(maxsplit=1)[0].partition("-")
        if int(low, 16) <= start and end <= int(high, 16):
            return line.endswith(".safetensors")
    return False
