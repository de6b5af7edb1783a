"""Embeddings kept in a file: written while they are made, and read back in the place of images.

The ending of the file's name chooses its form. Shapes: n rows, D dimensions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from vlmcli.errors import InputError, UsageError, VlmError, first_line
from vlmcli.inputs.embeddings import jsonl, parquet, tensors
from vlmcli.inputs.embeddings.form import Form
from vlmcli.inputs.outputs import check_output, replacing
from vlmcli.types.embed import Embedding, EmbedEvent, EmbedTotals
from vlmcli.types.result import ImageInfo, ModelInfo, Start

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Embedded = Generator[EmbedEvent, None, None]

FORMS: dict[str, Form] = {
    ".safetensors": cast(Form, tensors),
    ".jsonl": cast(Form, jsonl),
    ".parquet": cast(Form, parquet),
}
# A vector that was normalised in bfloat16 is this far from length 1, and no farther.
_NORM_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of embeddings; ``model`` made them, and its ``revision`` pins the weights (weights.pinned_revision)."""

    path: Path
    model: ModelInfo

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Kept:
        """Look at a file's header. Raises InputError for what is no such file, UsageError for an unknown ending."""
        path = Path(path)
        form = _form(path)
        return cls(path, _read(path, lambda: form.model(path)))

    def check_model(self, model: ModelInfo) -> None:
        """Raises InputError, naming both, where another model than ``model`` made the vectors."""
        if self.model.revision == model.revision:
            return
        theirs, mine = _named(self.model), _named(model)
        hint = "give that model with -m, or embed the images anew: vectors of different models cannot be compared"
        raise InputError(f"{self.path} was made by {theirs}, not by {mine}", hint)

    def images(self) -> Iterator[tuple[ImageInfo, Tensor]]:
        """The images and their vectors [D] in float32, in order; texts are left out.

        Raises InputError, when the row comes up, for NaN, for vectors that are no unit vectors or are not all of one
        length, and for a file that is damaged.
        """
        dimensions: int | None = None
        chunks = _form(self.path).chunks(self.path)
        while (chunk := _read(self.path, lambda: next(chunks, None))) is not None:
            infos, vectors = chunk
            dimensions = vectors.shape[1] if dimensions is None else dimensions
            self._check(vectors, dimensions)
            yield from ((info, row) for info, row in zip(infos, vectors, strict=True) if isinstance(info, ImageInfo))

    def _check(self, vectors: Tensor, dimensions: int) -> None:
        norms = vectors.norm(dim=-1)  # [n]
        if not norms.isfinite().all():
            raise InputError(f"{self.path} holds NaN or infinite numbers", "embed the images anew")
        if vectors.shape[1] != dimensions or ((norms - 1).abs() > _NORM_TOLERANCE).any():
            raise InputError(f"{self.path} holds vectors that no model here made: not of length 1, or of unlike sizes")


def check_file(path: Path, *, force: bool = False) -> None:
    """Notice before a model is loaded that embeddings cannot be kept in ``path``.

    Raises UsageError for an unknown ending or a missing library, and what ``inputs.outputs.check_output`` raises.
    """
    _form(path)
    if path.suffix == ".parquet":
        parquet.require()
    check_output(path, force=force)


def keep(events: Embedded, path: str | os.PathLike[str]) -> Embedded:
    """Pass ``events`` on, and write their vectors into ``path`` on the way.

    The file appears whole, before the totals are passed on, or not at all: it replaces an older one only when
    everything has been written. Raises UsageError as ``check_file``, OSError (a full disk among them), and what
    ``events`` raises.
    """
    path = Path(path)
    form = _form(path)
    with closing(events):
        start = next(events)
        assert isinstance(start, Start)  # embedding begins with it
        yield start
        totals = None
        with replacing(path) as stream, form.writer(stream, start.model) as add:
            for event in events:
                if isinstance(event, Embedding):
                    add(event)
                if isinstance(event, EmbedTotals):
                    totals = event
                else:
                    yield event
        if totals is not None:
            yield totals


def _form(path: Path) -> Form:
    try:
        return FORMS[path.suffix]
    except KeyError:
        raise UsageError(f"{path}: embeddings are kept in {', '.join(FORMS)} files", "the ending says which") from None


def _read(path: Path, read: Callable[[], T]) -> T:
    """What ``read`` returns; whatever its libraries raise on a damaged file becomes one InputError that names it."""
    try:
        return read()
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error.message}", error.hint) from error
    except (VlmError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or first_line(error)}") from error
    except Exception as error:
        raise InputError(f"{path} is damaged or no file of embeddings: {first_line(error)}") from error


def _named(model: ModelInfo) -> str:
    return f"{model.id} at {model.revision}" if model.revision else model.id
