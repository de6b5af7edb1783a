"""What the three forms of a file of embeddings have in common; docs/embed.md describes the files for their users.

Writing and reading stand side by side, a file each form, because a format whose two halves live apart drifts apart; and
here, below the tasks, because a task reads such a file in the place of images, while rendering knows no files.

Every form holds the same: once, which model made the vectors; for each vector, what it is of (``Item``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from vlmcli.errors import InputError
from vlmcli.types.embed import Embedding, TextInfo
from vlmcli.types.result import ImageInfo, ModelInfo

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

VERSION = 1
ROWS = 4096
"""Vectors that are read, or written as a row group, at a time."""

_SURROGATES = re.compile("[\ud800-\udfff]")

Info = ImageInfo | TextInfo
Item = dict[str, Any]
"""``kind`` (image or text), ``source`` (where the image came from, or the text), ``sha256``, ``size`` (of the upright
image, [width, height] in pixels; None for a text)."""


class Form(Protocol):
    """One form of file: a module of this package."""

    def writer(self, stream: BinaryIO, model: ModelInfo) -> AbstractContextManager[Callable[[Embedding], None]]:
        """Take vectors one by one; the file is complete when the block has ended well. ``stream`` can seek."""
        ...

    def model(self, path: Path) -> ModelInfo:
        """Read which model made the vectors. Raises InputError; any other Exception means a damaged file."""
        ...

    def chunks(self, path: Path) -> Iterator[tuple[list[Info], Tensor]]:
        """Read the vectors in order, [n, D] in float32 with n <= ROWS. Raises as ``model`` does."""
        ...


def header(model: ModelInfo) -> dict[str, Any]:
    """What a file says once."""
    about = {"id": clean(model.id), "revision": model.revision, "dtype": model.dtype, "device": model.device}
    return {"schema_version": VERSION, "model": about}


def model_of(content: Any) -> ModelInfo:
    """The model of a header. Raises InputError for one of a later vlm; KeyError or TypeError for what is none."""
    if content["schema_version"] != VERSION:
        raise InputError(f"it is of version {content['schema_version']}, and this vlm reads {VERSION}", "update vlm")
    about = content["model"]
    return ModelInfo(str(about["id"]), about["revision"], str(about["dtype"]), str(about["device"]))


def item(info: Info) -> Item:
    """What a vector is of, for a file."""
    if isinstance(info, ImageInfo):
        return {"kind": "image", "source": clean(info.source), "sha256": info.sha256, "size": list(info.original)}
    return {"kind": "text", "source": clean(info.text), "sha256": info.sha256, "size": None}


def info_of(content: Item) -> Info:
    """The same, from a file. Raises KeyError, TypeError or ValueError for anything else."""
    if content["kind"] == "image":
        width, height = content["size"]
        return ImageInfo(str(content["source"]), str(content["sha256"]), (int(width), int(height)))
    if content["kind"] != "text":
        raise ValueError(f"no such kind: {content['kind']}")
    return TextInfo(str(content["source"]), str(content["sha256"]))


def clean(text: str) -> str:
    """``text`` as UTF-8 can express it: names of files may hold bytes that are no text."""
    return _SURROGATES.sub("\ufffd", text)
