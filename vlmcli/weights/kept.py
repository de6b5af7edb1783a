"""What of a model is on this machine: its files, fetching what is missing, and removing them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlmcli.catalog import Catalog, ModelSpec
from vlmcli.errors import ModelError, ModelNotFound, UsageError
from vlmcli.types.models import ModelFile, Pulled, Removed
from vlmcli.weights.folder import checkpoint_files, weight_files
from vlmcli.weights.hub import Hub, HuggingFaceHub
from vlmcli.weights.pypi import PackageClient, Wheel
from vlmcli.weights.resolve import BUILTIN, resolve
from vlmcli.weights.source import Source, locate, part_names, source_of

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """The files of a model that can be used without the network, and the folder in which they stand."""

    folder: Path
    files: tuple[Path, ...]


def cached(spec: ModelSpec, *, hub: Hub | None = None, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether ``spec`` can be used without the network: it is local, or complete in the cache."""
    return kept(source_of(spec), hub=hub, environ=environ) is not None


def kept(source: Source, *, hub: Hub | None = None, environ: Mapping[str, str] = os.environ) -> Kept | None:
    """Return what is there of a model, without asking any network; None where it is not complete."""
    try:
        if source.scheme == "pypi":
            return _file(Wheel.of(source).kept(environ))
        if source.scheme == "hub":
            file = source.spec.file if source.spec else None
            hub = hub or HuggingFaceHub()
            folder = hub.fetch(source.place, source.revision, file=file, offline=True, progress=False)
            return _file(folder / file) if file else _folder(folder)
        if source.scheme == "composition":
            return _parts(source, hub, environ)
        place = BUILTIN / source.place if source.scheme == "builtin" else Path(source.place)
        return _file(place) if place.is_file() else _folder(place)
    except ModelError:
        return None


def pull(
    name: str,
    catalog: Catalog,
    *,
    progress: bool = False,
    hub: Hub | None = None,
    packages: PackageClient | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Pulled:
    """Download what is missing of a model, check it, and say what there is now. Raises what ``resolve`` raises."""
    source = locate(name, catalog)
    place = _cache_folder(source, hub, environ)
    before = {file.resolve() for file in place.rglob("*") if file.is_file()} if place else set()
    checkpoint = resolve(name, catalog, progress=progress, hub=hub, packages=packages, environ=environ)
    folder = checkpoint.folder
    files = checkpoint.files()
    new = {file for file in files if place and file.resolve() not in before}
    return Pulled(
        name=name,
        id=checkpoint.id,
        revision=checkpoint.revision,
        folder=str(folder),
        files=tuple(_model_file(folder, file) for file in files),
        fetched=tuple(_model_file(folder, file) for file in files if file in new),
    )


def remove(name: str, catalog: Catalog, *, hub: Hub | None = None, environ: Mapping[str, str] = os.environ) -> Removed:
    """Delete what the cache holds of a model of the hub (every revision of it) or of a wheel.

    Raises UsageError for a built-in model and for a folder or file of the user's own, ModelNotFound where the cache
    holds nothing of it.
    """
    source = locate(name, catalog)
    place = _cache_folder(source, hub, environ)
    if source.scheme == "composition":
        raise UsageError(f"{name} is put together from parts", f"remove them: {', '.join(part_names(source).values())}")
    if source.scheme == "builtin":
        raise UsageError(f"{name} is built in, and stays as long as vlm does", "vlm models rm removes downloads only")
    if place is None:
        raise UsageError(f"{name} is no download but a place of your own", f"delete it yourself: {source.place}")
    if not place.is_dir():
        raise ModelNotFound(f"the cache holds nothing of {name}", "vlm models list shows what it holds")
    sizes = [file.stat().st_size for file in place.rglob("*") if file.is_file() and not file.is_symlink()]
    try:
        shutil.rmtree(place)
    except OSError as error:
        raise ModelError(f"cannot remove {place}: {error.strerror}") from error
    return Removed(name=name, folder=str(place), size_bytes=sum(sizes))


def described(files: Kept) -> tuple[ModelFile, ...]:
    """Return the names, sizes and SHA-256 checksums of what is kept; large files are read for it."""
    return tuple(_model_file(files.folder, file, _sha256(file)) for file in files.files)


def _cache_folder(source: Source, hub: Hub | None, environ: Mapping[str, str]) -> Path | None:
    """Where downloads of a source are kept; None for what is never downloaded."""
    if source.scheme == "hub":
        return (hub or HuggingFaceHub()).folder(source.place)
    return Wheel.of(source).folder(environ) if source.scheme == "pypi" else None


def _parts(source: Source, hub: Hub | None, environ: Mapping[str, str]) -> Kept | None:
    """What is there of a composition: all files of all parts, or None."""
    catalog = Catalog.load()
    parts = [kept(locate(name, catalog), hub=hub, environ=environ) for name in part_names(source).values()]
    files = tuple(file for part in parts if part for file in part.files)
    return Kept(Path(os.path.commonpath([file.parent for file in files])), files) if all(parts) else None


def _file(file: Path) -> Kept | None:
    return Kept(file.parent, (file,)) if file.is_file() else None


def _folder(folder: Path) -> Kept | None:
    complete = (folder / "config.json").is_file() and weight_files(folder)
    return Kept(folder, checkpoint_files(folder)) if complete else None


def _model_file(folder: Path, file: Path, sha256: str | None = None) -> ModelFile:
    name = file.relative_to(folder) if file.is_relative_to(folder) else file
    return ModelFile(str(name), file.stat().st_size, sha256)


def _sha256(file: Path) -> str:
    """The checksum; the hub's cache names its large files by it, so that those need not be read."""
    if file.is_symlink() and _SHA256.fullmatch(file.resolve().name):
        return file.resolve().name
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
