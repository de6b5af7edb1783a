"""What tells one model's weights from another's, cheaply enough for every start."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from vlmcli.weights.resolve import Checkpoint

_COMMIT = re.compile(r"[0-9a-f]{40}")


def fingerprint(checkpoint: Checkpoint) -> str:
    """Return a SHA-256 that no other checkpoint has, and not the same one after a change either.

    A commit of the hub stands for its content. Of a folder or a file it is over where it lies, and each file's name,
    size and time of change in nanoseconds; config.json's content is read, the weights are not (``pinned_revision``
    reads them). A composition is its parts, and how models.toml joins them. Raises OSError.
    """
    digest = hashlib.sha256()
    for line in _lines(checkpoint):
        digest.update(line.encode() + b"\0")
    return digest.hexdigest()


def _lines(checkpoint: Checkpoint) -> list[str]:
    if checkpoint.parts:
        spec = checkpoint.spec.composition if checkpoint.spec else None
        own = [_file(spec.projector.file)] if spec and spec.projector.file else []
        return [repr(spec), *own, *(f"{role} {fingerprint(part)}" for role, part in checkpoint.parts.items())]
    if checkpoint.revision is not None and _COMMIT.fullmatch(checkpoint.revision):
        return [checkpoint.id, checkpoint.revision]
    config = checkpoint.folder / "config.json"
    content = hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else ""
    return [str(checkpoint.folder.resolve()), content, *map(_file, checkpoint.files())]


def _file(file: Path) -> str:
    state = file.stat()
    return f"{file.name} {state.st_size} {state.st_mtime_ns}"
