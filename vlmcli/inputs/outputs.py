"""Files that a command writes: whether they may be written, and how they appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vlmcli.errors import InputError, UsageError

_NAME_CHARACTERS = 40
"""Of a file's name, in that of its temporary file, which has to be a valid name too."""


def check_output(path: Path, *endings: str, force: bool = False) -> None:
    """Notice before a model is loaded that ``path`` cannot be written; nothing is left behind.

    ``force``: a file that is there may be replaced. ``endings``, such as ``.png``: those that its name may have, so
    that an option whose FILE was forgotten takes no image for it. Raises UsageError for another one; InputError for a
    file that may not be replaced, for what is no file, and for a folder that is missing or cannot be written to.
    """
    if endings and path.suffix.lower() not in endings:
        raise UsageError(
            f"cannot write {path}: its name does not end in {' or '.join(endings)}", "name a file that does"
        )
    try:
        _check_place(path)
        if path.exists() and not force:
            raise InputError(f"{path} exists already", "give another name, or replace it with --force")
        part = _part(path)
        part.open("xb").close()
        part.unlink()
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL character; RuntimeError: a loop of links
        raise InputError(f"cannot write {path}: {_reason(error)}", "give another place") from error


def check_folder(path: Path, *, force: bool = False) -> None:
    """Notice before a model is loaded that files cannot be written into the folder ``path``; nothing is left behind.

    It is made when the first of them is written. ``force``: what is in it already may be replaced. Raises InputError
    for a folder that is not empty, for what is no folder, and where there can be none.
    """
    try:
        if path.exists() and not path.is_dir():
            raise InputError(f"cannot write into {path}: it is no folder", "name a folder")
        if not path.exists() and not path.resolve().parent.is_dir():
            raise InputError(f"cannot make {path}: its folder does not exist", f"make it first: mkdir -p {path.parent}")
        if path.is_dir() and any(path.iterdir()) and not force:
            raise InputError(f"the folder {path} is not empty", "give another one, or write into it with --force")
        part = _part(path / "file" if path.is_dir() else path)
        part.open("xb").close()
        part.unlink()
    except (OSError, ValueError, RuntimeError) as error:  # as above
        raise InputError(f"cannot write into {path}: {_reason(error)}", "give another place") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` when the block ends well, and disappears when it does not.

    Where ``path`` is a symbolic link, what it leads to is replaced. Raises OSError, a full disk among them.
    """
    path = path.resolve()
    part = _part(path)
    try:
        with part.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder", "name a file in it")
    if path.exists() and not path.is_file():  # a device or a pipe, which a renamed file would replace
        raise InputError(f"cannot write {path}: it is no regular file", "name a file")
    if not path.resolve().parent.is_dir():
        raise InputError(f"cannot write {path}: its folder does not exist", f"make it first: mkdir -p {path.parent}")


def _part(path: Path) -> Path:
    """A temporary file in the same folder, from where a rename cannot fail half-way."""
    target = path.resolve()
    return target.with_name(f".{target.name[:_NAME_CHARACTERS]}.{secrets.token_hex(4)}.part")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
