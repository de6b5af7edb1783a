"""Embeddings as Apache Parquet, through pyarrow.

The columns are ``kind``, ``source``, ``sha256``, ``width``, ``height`` and ``embedding``, a list of D float32; the
schema's metadata holds the header as ``vlm_embeddings``. A row group is written when it is full.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.embeddings.form import ROWS, Info, header, info_of, item, model_of
from vlmcli.types.embed import Embedding
from vlmcli.types.result import ModelInfo

if TYPE_CHECKING:
    from torch import Tensor

_KEY = b"vlm_embeddings"


def require() -> None:
    """Raises UsageError where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UsageError("Parquet files need pyarrow, which is not installed", "pip install 'vlmcli[parquet]'")


@contextmanager
def writer(stream: BinaryIO, model: ModelInfo) -> Iterator[Callable[[Embedding], None]]:
    """See Form.writer."""
    from pyarrow import parquet

    waiting: list[Embedding] = []
    file: Any = None

    def flush() -> None:
        nonlocal file
        batch = _record_batch(waiting, model)
        file = file or parquet.ParquetWriter(stream, batch.schema)
        file.write_batch(batch)
        waiting.clear()

    def add(embedding: Embedding) -> None:
        waiting.append(embedding)
        if len(waiting) == ROWS:
            flush()

    try:
        yield add
        if waiting or file is None:
            flush()
    finally:
        if file is not None:
            file.close()  # while there is a stream: left open, it would try when it is collected


def model(path: Path) -> ModelInfo:
    """See Form.model."""
    with _opened(path) as file:
        metadata = file.schema_arrow.metadata or {}
        if _KEY not in metadata:
            raise InputError("it is a table, but not of embeddings that vlm wrote")
        return model_of(json.loads(metadata[_KEY]))


def chunks(path: Path) -> Iterator[tuple[list[Info], Tensor]]:
    """See Form.chunks."""
    import torch

    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=ROWS):
            columns = {name: batch.column(name).to_pylist() for name in ("kind", "source", "sha256")}
            sizes = zip(batch.column("width").to_pylist(), batch.column("height").to_pylist(), strict=True)
            rows = zip(*columns.values(), sizes, strict=True)
            infos = [info_of(dict(zip((*columns, "size"), row, strict=True))) for row in rows]
            numbers = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)  # [n * D]
            yield infos, torch.tensor(numbers, dtype=torch.float32).view(len(infos), -1)  # [n, D]


def _opened(path: Path) -> Any:
    require()
    from pyarrow import parquet

    return parquet.ParquetFile(path)


def _record_batch(embeddings: list[Embedding], model: ModelInfo) -> Any:
    import pyarrow

    dimensions = len(embeddings[0].vector) if embeddings else 0
    items = [item(embedding.of) for embedding in embeddings]
    sizes = [of["size"] or (None, None) for of in items]
    vector = pyarrow.list_(pyarrow.float32(), dimensions)
    columns: dict[str, tuple[Any, list[Any]]] = {
        **{name: (pyarrow.string(), [of[name] for of in items]) for name in ("kind", "source", "sha256")},
        "width": (pyarrow.int32(), [width for width, _ in sizes]),
        "height": (pyarrow.int32(), [height for _, height in sizes]),
        "embedding": (vector, [embedding.vector for embedding in embeddings]),
    }
    schema = pyarrow.schema([(name, kind) for name, (kind, _) in columns.items()], {_KEY: json.dumps(header(model))})
    return pyarrow.record_batch([pyarrow.array(values, kind) for kind, values in columns.values()], schema=schema)
