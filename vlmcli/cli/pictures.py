"""The files with pictures that a command writes: where, and whether they may be written."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmcli.cli.arguments import STDIN, is_url
from vlmcli.inputs.outputs import check_folder, check_output, replacing

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
_WITH_ALPHA = (".png", ".webp")
_NAME_CHARACTERS = 40


def check_picture(path: Path, *, force: bool, alpha: bool = False) -> None:
    """Raises UsageError for a name that does not say how to write it, InputError where it cannot be written."""
    check_output(path, *(_WITH_ALPHA if alpha else _FORMATS), force=force)


def check_places(out: Path, images: Sequence[str], *, force: bool) -> tuple[Path, ...]:
    """Where the picture of each image goes: ``out`` itself for a single one, else into the folder of that name.

    Raises UsageError and InputError as above.
    """
    if len(images) == 1:
        check_picture(out, force=force)
        return (out,)
    check_folder(out, force=force)
    names = [_stem(image) for image in images]
    counted = [
        f"{name}-{names[: i + 1].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)
    ]
    return tuple(out / f"{name}.png" for name in counted)


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write it whole or not at all, in the format that its name says. Raises OSError."""
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as stream:
        picture.save(stream, _FORMATS[path.suffix.lower()])


def write_json(path: Path, content: Any) -> None:
    """Write it whole or not at all. Raises OSError."""
    with replacing(path) as stream:
        stream.write(json.dumps(content, ensure_ascii=False, allow_nan=False).encode())


def file_name(text: str) -> str:
    """Part of a file's name from a text: letters and digits of any script, hyphens for the rest."""
    return re.sub(r"\W+", "-", text).strip("-")[:_NAME_CHARACTERS] or "thing"


def _stem(image: str) -> str:
    """A file's name for what is made of an image."""
    if image == STDIN:
        return "stdin"
    last = image.partition("?")[0].rstrip("/").rpartition("/")[2] if is_url(image) else Path(image).name
    return Path(last).stem or "image"
