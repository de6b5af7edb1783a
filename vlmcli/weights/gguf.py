"""GGUF files (llama.cpp's format), checked and described by their headers alone.

The format (ggml's documentation, "GGUF", versions 2 and 3), little-endian: the magic ``GGUF``, the version, the numbers
of tensors and of key-value pairs; the pairs; for each tensor its name, dimensions (the fastest first), type and offset;
then, at the next multiple of ``general.alignment``, the tensors' bytes.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmcli.errors import ModelError
from vlmcli.weights.damage import AGAIN, refuse_lfs_pointer
from vlmcli.weights.safetensors import Weight

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where one tensor stands: ``offset`` bytes after the first; ``shape`` has the slowest dimension first."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a file says of itself; of the arrays among ``values`` only the lengths are kept."""

    values: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]
    data_start: int

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the model's family."""
        return str(self.values.get("general.architecture", ""))


def check_gguf(file: Path) -> GgufHeader:
    """Read a GGUF file's header and check it against the file's size, without reading a tensor.

    Raises ModelError, naming the file, for bad magic, an unknown version, a file that is cut short or damaged, and for
    one part of several.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(8)
            _check_start(file, head)
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = _Reader(data).header()
                _check_size(file, header, len(data))
    except (struct.error, IndexError) as error:
        raise ModelError(f"{file} is cut short: it ends within its header", AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} has a damaged GGUF header", AGAIN) from error
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error
    if (parts := header.values.get("split.count", 1)) > 1:
        raise ModelError(f"{file} is one of {parts} parts", "join them first: llama-gguf-split --merge")
    return header


def listed(file: Path) -> tuple[Weight, ...]:
    """Return the file's tensors, read from its header alone; the dtype is ggml's type, such as q4_1."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    return tuple(
        Weight(t.name, GGMLQuantizationType(t.type).name.lower(), t.shape, _size_bytes(t, GGML_QUANT_SIZES))
        for t in check_gguf(file).tensors
    )


def _check_start(file: Path, head: bytes) -> None:
    refuse_lfs_pointer(file, head)
    if not head.startswith(MAGIC):
        raise ModelError(f"{file} is no GGUF file: it begins with {head[:4]!r}", AGAIN)
    version = int.from_bytes(head[4:8], "little")
    if len(head) == 8 and version not in _VERSIONS:
        raise ModelError(f"{file} has GGUF version {version}, and only versions 2 and 3 can be read")


def _check_size(file: Path, header: GgufHeader, size_bytes: int) -> None:
    from gguf import GGML_QUANT_SIZES

    sizes: Mapping[int, tuple[int, int]] = GGML_QUANT_SIZES
    ends = [0]
    for tensor in header.tensors:
        if tensor.type not in sizes:
            raise ModelError(f"{file} holds tensors of type {tensor.type}, which the gguf package does not know")
        ends.append(tensor.offset + _size_bytes(tensor, sizes))
    if header.data_start + max(ends) > size_bytes:
        there = max(size_bytes - header.data_start, 0)
        raise ModelError(f"{file} is cut short: {there} bytes of tensors of {max(ends)}", AGAIN)


def _size_bytes(tensor: GgufTensor, sizes: Mapping[int, tuple[int, int]]) -> int:
    block, block_bytes = sizes[tensor.type]
    return math.prod(tensor.shape) // block * block_bytes


class _Reader:
    """A position in the bytes of a header. Raises struct.error at their end, ValueError for what cannot be meant."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = len(MAGIC)

    def header(self) -> GgufHeader:
        _, tensors, pairs = self._unpack("IQQ")
        values = {self._text(): self._value(self._unpack("I")[0]) for _ in range(pairs)}
        entries = tuple(self._tensor() for _ in range(tensors))
        alignment = values.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError("no alignment")
        return GgufHeader(values, entries, math.ceil(self._at / alignment) * alignment)

    def _tensor(self) -> GgufTensor:
        name, (dimensions,) = self._text(), self._unpack("I")
        if dimensions > 8:
            raise ValueError("ggml knows four dimensions")
        shape = self._unpack(f"{dimensions}Q")[::-1]
        kind, offset = self._unpack("IQ")
        return GgufTensor(name, shape, kind, offset)

    def _value(self, kind: int) -> Any:
        """One value; of an array its length."""
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            inner, length = self._unpack("IQ")
            self._skip(inner, length)
            return length
        return self._unpack(self._code(kind))[0]

    def _skip(self, kind: int, length: int) -> None:
        if kind == _STRING:
            for _ in range(length):
                self._move(self._unpack("Q")[0])
        elif kind == _ARRAY:
            for _ in range(length):
                self._skip(*self._unpack("IQ"))
        else:
            self._move(struct.calcsize(self._code(kind)) * length)

    def _text(self) -> str:
        (length,) = self._unpack("Q")
        start = self._at
        self._move(length)
        return self._data[start : self._at].decode("utf-8")

    def _move(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise IndexError(self._at)

    def _unpack(self, code: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{code}", self._data, self._at)
        self._at += struct.calcsize(f"<{code}")
        return values

    def _code(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise ValueError(f"no such type of value: {kind}")
        return _NUMBERS[kind]
