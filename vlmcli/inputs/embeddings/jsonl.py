"""Embeddings as JSON lines: ``start`` (the header), an ``embedding`` each, ``done``.

What ``vlm embed --jsonl`` prints can be read as such a file, too. A vector's numbers have nine significant digits: that
is what a float32 needs to come back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vlmcli.errors import InputError
from vlmcli.inputs.embeddings.form import ROWS, Info, header, info_of, item, model_of
from vlmcli.types.embed import Embedding
from vlmcli.types.result import ModelInfo

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def writer(stream: BinaryIO, model: ModelInfo) -> Iterator[Callable[[Embedding], None]]:
    """See Form.writer."""

    def write(content: dict[str, Any]) -> None:
        stream.write(json.dumps(content, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    def add(embedding: Embedding) -> None:
        numbers = [float(f"{number:.9g}") for number in embedding.vector]
        write({"type": "embedding", **item(embedding.of), "vector": numbers})

    write({"type": "start", **header(model)})
    yield add
    write({"type": "done"})


def model(path: Path) -> ModelInfo:
    """See Form.model."""
    first = next(_lines(path), None)
    if not isinstance(first, dict) or first.get("type") != "start":
        raise InputError("its first line is no start of embeddings")
    return model_of(first)


def chunks(path: Path) -> Iterator[tuple[list[Info], Tensor]]:
    """See Form.chunks."""
    import torch

    infos: list[Info] = []
    vectors: list[list[float]] = []
    ended = False
    for line in _lines(path):
        ended = line["type"] == "done"
        if line["type"] != "embedding":
            continue
        infos.append(info_of(line))
        vectors.append(line["vector"])
        if len(vectors) == ROWS:
            yield infos, torch.tensor(vectors, dtype=torch.float32)
            infos, vectors = [], []
    if not ended:
        raise InputError("it is cut short: its last line is missing")
    if vectors:
        yield infos, torch.tensor(vectors, dtype=torch.float32)


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)
