"""Room for a download."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from vlmcli.errors import VlmError

FreeBytes = Callable[[Path], int]
"""How many bytes can still be written below a folder."""


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that holds ``folder``, or will hold it once it is made."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def check_space(folder: Path, needed_bytes: int, what: str, free: FreeBytes = free_bytes) -> None:
    """Raise VlmError, with both figures, where ``needed_bytes`` more do not fit below ``folder``."""
    if needed_bytes > 0 and needed_bytes > (left := free(folder)):
        raise VlmError(
            f"{what} needs {needed_bytes / 1e9:.2f} GB more, and {folder} has {left / 1e9:.2f} GB left",
            "free some space, or move the cache: HF_HOME, VLM_CACHE_DIR",
        )
