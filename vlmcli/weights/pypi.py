"""Weights out of a wheel: fetched with the user's own package client, checked, and taken out. Nothing in it is run."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vlmcli.config import cache_dir
from vlmcli.errors import ModelError, ModelNotFound, Offline, VlmError
from vlmcli.weights.disk import FreeBytes, check_space, free_bytes
from vlmcli.weights.source import Source

# What pip says of a network that is not there; without it, a release that cannot be found does not exist.
_UNREACHABLE = re.compile(r"connection|timed out|timeout|name resolution|name or service|unreachable|proxy", re.I)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A release that carries weights: the ``file`` in it, and the wheel's own ``sha256``."""

    requirement: str
    file: str
    sha256: str

    @classmethod
    def of(cls, source: Source) -> Wheel:
        """Return the wheel of a ``pypi:`` source; the catalogue has checked that file and sha256 are there."""
        spec = source.spec
        if spec is None or spec.file is None or spec.sha256 is None:
            raise ModelError(f"{source.id} is a wheel, and the catalogue names no file and sha256 for it")
        return cls(source.place, spec.file, spec.sha256)

    @property
    def version(self) -> str:
        """The release's version."""
        return self.requirement.partition("==")[2]

    def folder(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return where its weights are kept; another checksum is another folder."""
        return cache_dir(environ) / "weights" / f"{self.requirement.replace('==', '-')}-{self.sha256[:12]}"

    def kept(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return the path of the weights in the cache, whether they are there or not."""
        return self.folder(environ) / Path(self.file).name


class PackageClient(Protocol):
    """What downloads packages from the index that the user's configuration names."""

    def download(self, requirement: str, into: Path, *, progress: bool) -> Path:
        """Put the wheel of ``requirement``, without its dependencies, into a folder and return its path.

        Raises ModelNotFound, Offline or ModelError, and VlmError where the disk is full.
        """
        ...


class Pip:
    """The user's pip, with their index, proxy and certificates. It installs nothing, and runs nothing of a wheel."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = command

    def download(self, requirement: str, into: Path, *, progress: bool) -> Path:
        """Run ``pip download``; its progress bar goes to the process's stderr, stdout stays the command's own."""
        command = [*(self._command or pip_command()), "download", requirement, "--dest", str(into)]
        # A second copy in pip's own cache would outlive `vlm models rm`.
        command += [
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
        ]
        standard_error = 2
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=standard_error if progress else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        wheels = sorted(into.glob("*.whl"))
        if done.returncode or not wheels:
            raise _pip_error(requirement, done.stderr)
        return wheels[0]


def pip_command() -> list[str]:
    """Return how pip is called: this interpreter's own, else one on PATH, else uv's. Raises ModelError for none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-P", "-m", "pip"]  # -P: never a pip.py of the working directory
    for name in ("pip", "pip3"):
        if found := shutil.which(name):
            return [found]
    if found := shutil.which("uv"):
        return [found, "tool", "run", "pip"]
    raise ModelError("there is no pip to download the wheel with", "python -m ensurepip installs one")


def fetch_wheel(
    wheel: Wheel,
    client: PackageClient,
    *,
    environ: Mapping[str, str] = os.environ,
    offline: bool,
    progress: bool,
    free: FreeBytes = free_bytes,
) -> Path:
    """Return the path of the wheel's weights in vlm's cache, downloaded if they are not there.

    The file appears under its name only when it is whole; a download that was cut starts again. Raises Offline,
    ModelError for a wheel with another checksum (which is deleted) or without the file, VlmError for a full disk.
    """
    kept = wheel.kept(environ)
    if kept.is_file():
        return kept
    if offline:
        raise Offline(
            f"{wheel.requirement} is not in the cache, and HF_HUB_OFFLINE is set", "unset it once to download the model"
        )
    from filelock import FileLock

    folder = wheel.folder(environ)
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # two commands at once: the second waits, and finds the file
            if not kept.is_file():
                _fetch_into(wheel, client, partial, folder, progress, free)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise VlmError(f"the disk is full: {wheel.requirement} was not kept", "free some space") from error
        raise ModelError(f"{wheel.requirement} cannot be kept in {folder}: {error.strerror}") from error
    return kept


def _fetch_into(
    wheel: Wheel, client: PackageClient, partial: Path, folder: Path, progress: bool, free: FreeBytes
) -> None:
    """Download and take out below ``partial``, which a killed command may have left; then rename in one step."""
    shutil.rmtree(partial, ignore_errors=True)
    weights = partial / "weights"
    try:
        weights.mkdir(parents=True)
        archive = client.download(wheel.requirement, partial, progress=progress)
        _check_sha256(archive, wheel)
        _take_out(archive, wheel, weights, free)
        shutil.rmtree(folder, ignore_errors=True)
        weights.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_sha256(archive: Path, wheel: Wheel) -> None:
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != wheel.sha256:
        archive.unlink()
        raise ModelError(
            f"{archive.name} has the sha256 {found}, not {wheel.sha256} as the catalogue says; it was deleted",
            "the index served another file: check which one your package client uses",
        )


def _take_out(archive: Path, wheel: Wheel, into: Path, free: FreeBytes) -> None:
    """Unpack the one file. Its bytes are covered by the wheel's checksum, which has been compared."""
    try:
        with zipfile.ZipFile(archive) as opened:
            entry = opened.getinfo(wheel.file)
            check_space(into, entry.file_size, wheel.requirement, free)
            with opened.open(entry) as packed, (into / Path(wheel.file).name).open("xb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
    except KeyError as error:
        raise ModelError(f"{archive.name} holds no file {wheel.file}", "check `file` in models.toml") from error
    except zipfile.BadZipFile as error:
        raise ModelError(f"{archive.name} is no wheel: {error}") from error


def _pip_error(requirement: str, said: str) -> VlmError:
    """Translate what pip printed on stderr."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reasons = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    reason = (reasons or lines or ["pip said nothing"])[-1]
    if "[Errno 28]" in said or "No space left" in said:
        return VlmError(f"the disk is full: {requirement} was not downloaded", "free some space")
    if any(_UNREACHABLE.search(line) for line in lines):
        return Offline(
            f"{requirement} is not in the cache, and the package index cannot be reached",
            "check the network, and pip's settings: pip config list",
        )
    if any("No matching distribution" in line for line in lines):
        return ModelNotFound(
            f"the package index offers no wheel of {requirement}", "check the network, and which index: pip config list"
        )
    return ModelError(f"downloading {requirement} failed: {reason}", "try again; --debug shows more")
