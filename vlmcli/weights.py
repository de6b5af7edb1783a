"""From a model's name to a folder of checked weights: built in, a local folder, or the hub.

Every source ends in the same folder check, so that the models layer only ever sees a folder with a readable
config.json and safetensors files whose headers fit their sizes. Pickles are never opened.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vlmcli.catalog import Catalog, ModelSpec
from vlmcli.errors import ModelError, ModelNotFound, Offline, first_line

BUILTIN = Path(__file__).resolve().parent / "builtin"

_HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_ALLOWED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
# The same weights in other layouts (Meta's, Mistral's, OpenCLIP's, half precision), which transformers never reads.
_IGNORED = ("original/*", "onnx/*", "*consolidated*", "open_clip*.safetensors", "*.fp16.safetensors")

_AGAIN = "download the checkpoint again"
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_DTYPE_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64}
_DTYPE_BITS |= {"F16": 16, "BF16": 16, "F32": 32, "F64": 64, "F8_E4M3": 8, "F8_E5M2": 8}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that can be loaded; ``id`` and ``revision`` say where it came from (a commit for the hub's)."""

    folder: Path
    id: str
    revision: str | None
    spec: ModelSpec | None


class Hub(Protocol):
    """Where repositories are downloaded from."""

    def fetch(self, repo: str, revision: str | None, *, offline: bool, progress: bool) -> Path:
        """Return the folder of a snapshot. Raises ModelNotFound, Offline or ModelError."""
        ...


class HuggingFaceHub:
    """The hub that HF_ENDPOINT names, through huggingface_hub's cache (HF_HOME), with HF_TOKEN."""

    def __init__(self, cache_dir: Path | None = None, endpoint: str | None = None) -> None:
        self._cache_dir = cache_dir
        self._endpoint = endpoint

    def fetch(self, repo: str, revision: str | None, *, offline: bool, progress: bool) -> Path:
        """Download what is missing of a snapshot; with ``offline`` only look into the cache."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

        silenced = not progress and not are_progress_bars_disabled()
        if silenced:
            disable_progress_bars()
        try:
            folder = snapshot_download(
                repo,
                revision=revision,
                cache_dir=self._cache_dir,
                endpoint=self._endpoint,
                local_files_only=offline,
                allow_patterns=list(_ALLOWED),
                ignore_patterns=list(_IGNORED),
            )
        except Exception as error:  # huggingface_hub lets errors of its HTTP and storage libraries through
            raise _hub_error(error, repo, revision, offline) from error
        finally:
            if silenced:
                enable_progress_bars()
        return Path(folder)


def resolve(
    name: str | os.PathLike[str],
    catalog: Catalog,
    *,
    progress: bool = False,
    hub: Hub | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Checkpoint:
    """Return the checkpoint that ``name`` means: a name in the catalogue, a local folder, or a hub id.

    A hub id is ``org/name`` or ``org/name@revision``. A folder or a built-in model never touches the network.
    Raises ModelNotFound (with the nearest names), Offline, or ModelError for a folder that cannot be loaded safely.
    """
    hub = hub or HuggingFaceHub()
    if not isinstance(name, str):
        return _from_folder(Path(name), os.fspath(name), None)
    if spec := catalog.get(name):
        return _from_spec(spec, hub, progress, environ)
    if _is_path(name):
        return _from_folder(Path(name).expanduser(), name, None)
    if match := _HUB_ID.fullmatch(name):
        known = catalog.by_source(f"hub:{match['repo']}")
        revision = match["revision"] or (known.revision if known else None)
        return _from_hub(match["repo"], revision, known, hub, progress, environ)
    raise ModelNotFound(f"no model is called {name!r}", _did_you_mean(name, catalog))


def cached(spec: ModelSpec, *, hub: Hub | None = None) -> bool:
    """Say whether ``spec`` can be used without the network: it is a folder, or a complete snapshot in the cache."""
    scheme, _, place = spec.source.partition(":")
    try:
        if scheme == "hub":
            folder = (hub or HuggingFaceHub()).fetch(place, spec.revision, offline=True, progress=False)
        else:
            folder = BUILTIN / place if scheme == "builtin" else Path(place)
        return (folder / "config.json").is_file() and bool(weight_files(folder))
    except ModelError:
        return False


def pinned_revision(checkpoint: Checkpoint) -> str:
    """Return what tells this checkpoint from any other: the hub's commit, else ``sha256:`` and a digest of its files.

    The digest is over the names and contents of the weights and of every configuration that is read with them, so that
    a folder which was trained on, or whose processor was changed, is another model. Reads the files as a whole.
    """
    if checkpoint.revision is not None and _COMMIT.fullmatch(checkpoint.revision):
        return checkpoint.revision
    patterns = [pattern for pattern in _ALLOWED if pattern != "*.safetensors"]
    files = {file for pattern in patterns for file in checkpoint.folder.glob(pattern)}
    digest = hashlib.sha256()
    for file in sorted(files.union(weight_files(checkpoint.folder))):
        with file.open("rb") as stream:
            digest.update(file.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files that make up the checkpoint, in order.

    One ``model.safetensors``, else the shards named by the index, else every safetensors file there is. Raises
    ModelError where a shard is missing or there are no safetensors weights at all.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if index.is_file():
        return _shards(index)
    files = tuple(sorted(folder.glob("*.safetensors")))
    if files:
        return files
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder} holds its weights as a pickle only ({pickles[0]}), which can run code when it is opened",
            "take a revision with .safetensors files, or convert them: save_pretrained writes safetensors",
        )
    raise ModelError(f"{folder} holds no safetensors weights", "a checkpoint has model.safetensors beside config.json")


def check_safetensors(file: Path) -> None:
    """Check a safetensors file's header against its size, without reading a tensor.

    The format (safetensors' documentation, "Format"): 8 bytes, the header's length N as a little-endian integer; N
    bytes of JSON, name -> {dtype, shape, data_offsets [begin, end)}; then the tensors' bytes without gaps to the end.
    Raises ModelError naming the file for anything else.
    """
    size_bytes = file.stat().st_size
    try:
        with file.open("rb") as stream:
            head = stream.read(8)
            length = int.from_bytes(head, "little")
            if head.startswith(b"version "):
                raise ModelError(f"{file} is a Git LFS pointer, not the weights themselves", "run: git lfs pull")
            if len(head) < 8 or length > min(size_bytes - 8, _MAX_HEADER_BYTES):
                raise ModelError(f"{file} is no safetensors file, or is cut short ({size_bytes} bytes)", _AGAIN)
            header = json.loads(stream.read(length))
        spans = sorted(_span(entry) for name, entry in header.items() if name != "__metadata__")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{file} has a damaged safetensors header", _AGAIN) from error
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error
    _check_spans(file, spans, size_bytes - 8 - length)


def _span(entry: dict[str, Any]) -> tuple[int, int]:
    """Return where one tensor's bytes begin and end. Raises ValueError, KeyError or TypeError for a bad entry."""
    begin, end = entry["data_offsets"]
    elements = math.prod(entry["shape"])
    expected = _DTYPE_BITS[entry["dtype"]] * elements // 8 if entry["dtype"] in _DTYPE_BITS else end - begin
    if not 0 <= begin <= end or end - begin != expected:
        raise ValueError("the offsets do not fit the shape")
    return begin, end


def _check_spans(file: Path, spans: list[tuple[int, int]], data_bytes: int) -> None:
    position = 0
    for begin, end in spans:
        if begin != position:
            raise ModelError(f"{file} has a damaged safetensors header: tensors overlap or leave gaps", _AGAIN)
        position = end
    if position > data_bytes:
        raise ModelError(f"{file} is cut short: {data_bytes} bytes of tensors of {position}", _AGAIN)
    if position < data_bytes:
        raise ModelError(f"{file} has {data_bytes - position} bytes after its last tensor", _AGAIN)


def _from_spec(spec: ModelSpec, hub: Hub, progress: bool, environ: Mapping[str, str]) -> Checkpoint:
    scheme, _, place = spec.source.partition(":")
    if scheme == "hub":
        return _from_hub(place, spec.revision, spec, hub, progress, environ)
    if scheme == "builtin":
        return _from_folder(BUILTIN / place, spec.name, spec)
    return _from_folder(Path(place), place, spec)


def _from_hub(
    repo: str, revision: str | None, spec: ModelSpec | None, hub: Hub, progress: bool, environ: Mapping[str, str]
) -> Checkpoint:
    folder = hub.fetch(repo, revision, offline=_offline(environ), progress=progress)
    _check_folder(folder)
    commit = folder.name if _COMMIT.fullmatch(folder.name) else revision
    return Checkpoint(folder=folder, id=repo, revision=commit, spec=spec)


def _from_folder(folder: Path, name: str, spec: ModelSpec | None) -> Checkpoint:
    if folder.is_file():
        raise ModelError(f"{folder} is a file, not a checkpoint's folder", f"try the folder: {folder.parent}")
    if not folder.is_dir():
        raise ModelNotFound(f"no such folder: {folder}", "a model is a catalogue name, a folder or a hub id org/name")
    _check_folder(folder)
    return Checkpoint(folder=folder, id=name, revision=None, spec=spec)


def _check_folder(folder: Path) -> None:
    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(f"{folder} is no checkpoint: it has no config.json", "see what save_pretrained writes")
    _read_json(config)
    for file in weight_files(folder):
        check_safetensors(file)


def _shards(index: Path) -> tuple[Path, ...]:
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ModelError(f"{index} names no weight files", _AGAIN)
    names = sorted(set(weight_map.values()))
    if outside := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
        raise ModelError(f"{index} names {outside[0]!r}, which is no safetensors file beside it")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ModelError(
            f"{index.parent} is incomplete: {len(missing)} of {len(names)} weight files are missing ({missing[0]} ...)",
            _AGAIN,
        )
    return tuple(index.parent / name for name in names)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}", _AGAIN) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object", _AGAIN)
    return content


def _is_path(text: str) -> bool:
    """Tell a folder from a hub id: it exists, or it is spelt as only a path can be."""
    spelt_as_path = text.startswith((".", "~", os.sep)) or text.endswith(os.sep) or text.count("/") > 1 or "\\" in text
    return (text != "" and Path(text).is_dir()) or (spelt_as_path and not _HUB_ID.fullmatch(text))


def _offline(environ: Mapping[str, str]) -> bool:
    return environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "ON", "YES", "TRUE"}


def _did_you_mean(name: str, catalog: Catalog) -> str:
    near = catalog.nearest(name)
    return f"did you mean {', '.join(near)}?" if near else "see: vlm models list; or name a folder or a hub id org/name"


def _hub_error(error: Exception, repo: str, revision: str | None, offline: bool) -> ModelError:
    """Translate what huggingface_hub raises; the order matters, for some of its errors descend from others."""
    from huggingface_hub import errors

    where = f"{repo}@{revision}" if revision else repo
    if isinstance(error, errors.GatedRepoError):
        return ModelError(f"{repo} is gated", "accept its licence on the hub's page, then set HF_TOKEN")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFound(f"the hub has no repository {repo}", "check the spelling; a private one needs HF_TOKEN")
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFound(f"{repo} has no revision {revision}", "leave @revision out for the newest")
    if isinstance(error, errors.HFValidationError):
        return ModelNotFound(f"{repo!r} cannot be a hub id", "hub ids look like org/name")
    if offline:
        return Offline(f"{where} is not in the cache, and HF_HUB_OFFLINE is set", "unset it once to download the model")
    if isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
        return Offline(f"{where} is not in the cache, and the hub cannot be reached", "check the network; HF_ENDPOINT")
    return ModelError(f"downloading {where} failed: {first_line(error)}", "try again; what is complete is kept")
