"""Safetensors files, checked by their headers alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmcli.errors import ModelError
from vlmcli.weights.damage import AGAIN, refuse_lfs_pointer

_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_DTYPE_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64}
_DTYPE_BITS |= {"F16": 16, "BF16": 16, "F32": 32, "F64": 64, "F8_E4M3": 8, "F8_E5M2": 8}
_DTYPE_PREFIXES = (("BF", "bfloat"), ("F", "float"), ("I", "int"), ("U", "uint"))


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor by its name: dtype (torch's name for it), shape, and the bytes that it takes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def check_safetensors(file: Path) -> None:
    """Check a safetensors file's header against its size, without reading a tensor.

    The format (safetensors' documentation, "Format"): 8 bytes, the header's length N as a little-endian integer; N
    bytes of JSON, name -> {dtype, shape, data_offsets [begin, end)}; then the tensors' bytes without gaps to the end.
    Raises ModelError naming the file for anything else.
    """
    header, data_bytes = _header(file)
    with _as_damaged(file):
        spans = sorted(_span(entry) for entry in header.values())
    _check_spans(file, spans, data_bytes)


def listed(file: Path) -> list[Weight]:
    """Return the file's tensors, read from its header alone. Raises ModelError for a bad header."""
    header, _ = _header(file)
    weights = []
    with _as_damaged(file):
        for name, entry in header.items():
            begin, end = _span(entry)
            weights.append(Weight(name, _dtype_name(entry["dtype"]), tuple(entry["shape"]), end - begin))
    return weights


def _dtype_name(stored: str) -> str:
    """The format's name in torch: F16 is float16, F8_E4M3 is float8_e4m3."""
    for prefix, name in _DTYPE_PREFIXES:
        if stored.startswith(prefix):
            return name + stored.removeprefix(prefix).lower()
    return stored.lower()


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Return the file's header without its metadata, and how many bytes of tensors follow it."""
    with _as_damaged(file), file.open("rb") as stream:
        size_bytes = file.stat().st_size
        head = stream.read(8)
        length = int.from_bytes(head, "little")
        refuse_lfs_pointer(file, head)
        if len(head) < 8 or length > min(size_bytes - 8, _MAX_HEADER_BYTES):
            raise ModelError(f"{file} is no safetensors file, or is cut short ({size_bytes} bytes)", AGAIN)
        header = json.loads(stream.read(length))
        return {name: entry for name, entry in header.items() if name != "__metadata__"}, size_bytes - 8 - length


@contextmanager
def _as_damaged(file: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{file} has a damaged safetensors header", AGAIN) from error
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error


def _span(entry: dict[str, Any]) -> tuple[int, int]:
    """Return where one tensor's bytes begin and end. Raises ValueError, KeyError or TypeError for a bad entry."""
    begin, end = entry["data_offsets"]
    elements = math.prod(entry["shape"])
    expected = _DTYPE_BITS[entry["dtype"]] * elements // 8 if entry["dtype"] in _DTYPE_BITS else end - begin
    if not 0 <= begin <= end or end - begin != expected:
        raise ValueError("the offsets do not fit the shape")
    return begin, end


def _check_spans(file: Path, spans: list[tuple[int, int]], data_bytes: int) -> None:
    position = 0
    for begin, end in spans:
        if begin != position:
            raise ModelError(f"{file} has a damaged safetensors header: tensors overlap or leave gaps", AGAIN)
        position = end
    if position > data_bytes:
        raise ModelError(f"{file} is cut short: {data_bytes} bytes of tensors of {position}", AGAIN)
    if position < data_bytes:
        raise ModelError(f"{file} has {data_bytes - position} bytes after its last tensor", AGAIN)
