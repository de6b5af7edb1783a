"""Images and texts as vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vlmcli.render.escape import one_line
from vlmcli.render.objects import (
    Object,
    clean,
    result_object,
)
from vlmcli.render.table import Column, Table
from vlmcli.types.embed import Embedding, EmbedTotals, Skipped
from vlmcli.types.result import ImageInfo


def embedding_tables(embeddings: Sequence[Embedding]) -> list[Table]:
    """What each vector is of; then the cosine of each image and each text, or of all where there is one kind only."""
    numbers = range(1, len(embeddings) + 1)
    norms = [math.hypot(*embedding.vector) for embedding in embeddings]
    columns = (Column("#", "right"), Column("kind"), Column("dimensions", "right"), Column("norm", "right"))
    rows = tuple(
        (str(number), embedding.kind, str(len(embedding.vector)), f"{norm:.4f}", one_line(embedding.source))
        for number, embedding, norm in zip(numbers, embeddings, norms, strict=True)
    )
    listed = Table((*columns, Column("of")), rows)
    return [listed, *([_cosines_table(embeddings)] if len(embeddings) > 1 else [])]


def _cosines_table(embeddings: Sequence[Embedding]) -> Table:
    """Cosines, which for vectors of length 1 are dot products; columns by the numbers of the table before."""
    numbered = list(enumerate(embeddings, start=1))
    images = [pair for pair in numbered if pair[1].kind == "image"]
    texts = [pair for pair in numbered if pair[1].kind == "text"]
    down, across = (images, texts) if images and texts else (numbered, numbered)
    columns = (Column("cosine"), *(Column(str(number), "right") for number, _ in across))
    rows = tuple(
        (f"{number} {one_line(row.source)}", *(f"{_dot(row, column):.4f}" for _, column in across))
        for number, row in down
    )
    return Table(columns, rows)


def _dot(one: Embedding, other: Embedding) -> float:
    return math.fsum(a * b for a, b in zip(one.vector, other.vector, strict=True))


def kept_line(totals: EmbedTotals, file: str) -> str:
    """What a file of embeddings holds now."""
    skipped = f"; {totals.skipped} skipped" if totals.skipped else ""
    vectors = f"{totals.images} of images, {totals.texts} of texts, of {totals.dimensions} dimensions"
    return f"{one_line(file)}: unit vectors, {vectors}{skipped}"


def embedding_object(embedding: Embedding) -> Object:
    """The unit vector of one image or text; nine digits are what a float32 needs to come back as it was."""
    of = embedding.of
    return {
        "kind": embedding.kind,
        "source": clean(embedding.source),
        "sha256": of.sha256,
        "size": list(of.original) if isinstance(of, ImageInfo) else None,
        "tokens": of.tokens,
        "vector": [float(f"{number:.9g}") for number in embedding.vector],
    }


def skipped_object(skipped: Skipped) -> Object:
    """An item that could not be used, and why."""
    hint = None if skipped.hint is None else clean(skipped.hint)
    error = {"type": skipped.error, "message": clean(skipped.message), "hint": hint}
    return {"source": clean(skipped.source), "error": error}


def embed_totals_object(totals: EmbedTotals, images: tuple[ImageInfo, ...], file: str | None) -> Object:
    """What embedding came to: everything but the vectors; ``file`` is where they were kept."""
    return {
        **result_object(totals.model, images, totals.usage, totals.timings_ms),
        "file": None if file is None else clean(file),
        "dimensions": totals.dimensions,
        "counts": {"images": totals.images, "texts": totals.texts, "skipped": totals.skipped},
    }
