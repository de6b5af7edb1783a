"""Embeddings as safetensors: ``embeddings`` (F32 [N, D]) and ``items`` (U8: a JSON object a line, N lines of UTF-8).

The items are a tensor and no metadata because a safetensors header ends at 100 MB, which is less than what a million
names and checksums take. The header itself (``__metadata__``: ``vlm_embeddings``) stands at the file's beginning, and N
is known at the end: room is left for it, filled up with spaces, as the format allows. So nothing is held in memory.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

from vlmcli.errors import InputError
from vlmcli.inputs.embeddings.form import ROWS, Info, header, info_of, item, model_of
from vlmcli.types.embed import Embedding
from vlmcli.types.result import ModelInfo

if TYPE_CHECKING:
    from torch import Tensor

_KEY = "vlm_embeddings"
_LENGTH = struct.Struct("<Q")
_LONGEST = 2**62
"""More rows and bytes than any file has: a header that speaks of so many is as long as headers get."""


@contextmanager
def writer(stream: BinaryIO, model: ModelInfo) -> Iterator[Callable[[Embedding], None]]:
    """See Form.writer. Until the end the items wait in a nameless file beside ``stream``."""
    about = {_KEY: json.dumps(header(model))}
    room_bytes = -(-len(_header(about, _LONGEST, 1, _LONGEST)) // 8) * 8  # the tensors begin aligned to 8 bytes
    rows, dimensions = 0, 0
    with TemporaryFile(dir=Path(stream.name).parent) as items:

        def add(embedding: Embedding) -> None:
            nonlocal rows, dimensions
            rows, dimensions = rows + 1, len(embedding.vector)
            stream.write(struct.pack(f"<{dimensions}f", *embedding.vector))
            items.write(json.dumps(item(embedding.of), ensure_ascii=False).encode() + b"\n")

        stream.write(bytes(_LENGTH.size + room_bytes))
        yield add
        items_bytes = items.tell()
        items.seek(0)
        shutil.copyfileobj(items, stream)
        stream.seek(0)
        stream.write(_LENGTH.pack(room_bytes) + _header(about, rows, dimensions, items_bytes).ljust(room_bytes))


def model(path: Path) -> ModelInfo:
    """See Form.model."""
    with _opened(path) as file:
        metadata = file.metadata() or {}
        if _KEY not in metadata:
            raise InputError("it holds tensors, but no embeddings that vlm wrote")
        return model_of(json.loads(metadata[_KEY]))


def chunks(path: Path) -> Iterator[tuple[list[Info], Tensor]]:
    """See Form.chunks."""
    with _opened(path) as file:
        vectors = file.get_slice("embeddings")
        count, _ = vectors.get_shape()
        items = file.get_tensor("items").numpy().tobytes().splitlines()
        if vectors.get_dtype() != "F32" or len(items) != count:
            raise ValueError(f"{count} rows in {vectors.get_dtype()}, {len(items)} items")
        for start in range(0, count, ROWS):
            infos = [info_of(json.loads(line)) for line in items[start : start + ROWS]]
            yield infos, vectors[start : start + ROWS]  # [n, D]


def _opened(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, framework="pt")


def _header(metadata: dict[str, str], rows: int, dimensions: int, items_bytes: int) -> bytes:
    """The JSON of a safetensors header (safetensors' documentation, "Format")."""
    end = 4 * rows * dimensions
    tensors = {
        "embeddings": {"dtype": "F32", "shape": [rows, dimensions], "data_offsets": [0, end]},
        "items": {"dtype": "U8", "shape": [items_bytes], "data_offsets": [end, end + items_bytes]},
    }
    return json.dumps({"__metadata__": metadata, **tensors}).encode()
