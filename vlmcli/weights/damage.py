"""What is said of a file that cannot be what its name promises."""

from __future__ import annotations

from pathlib import Path

from vlmcli.errors import ModelError

AGAIN = "download the checkpoint again"


def refuse_lfs_pointer(file: Path, head: bytes) -> None:
    """Raise ModelError where ``head``, the first bytes of ``file``, are those of a Git LFS pointer."""
    if head.startswith(b"version "):
        raise ModelError(f"{file} is a Git LFS pointer, not the weights themselves", "run: git lfs pull")
