"""Image features on disk: one safetensors file an entry in a folder below the cache, the least recently used go first.

Nothing here imports torch before an entry is read or written, so that ``vlm cache`` is quick.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors

from vlmcli.config import cache_dir, setting
from vlmcli.errors import UsageError
from vlmcli.inputs.outputs import replacing
from vlmcli.types.cache import Cleared, FeatureCache, KeptFeatures
from vlmcli.types.result import ModelInfo

if TYPE_CHECKING:
    from torch import Tensor

Fields = dict[str, Any]
"""An encoder's output by the names of its fields: each a tensor, a list of tensors, or a list of such lists."""

_MB = 1_000_000
_DEFAULT_MB = 2048
_DEFAULT_WEIGHTS_MB = 20_000
ABOUT = "vlm_features"
_DAMAGE = (safetensors.SafetensorError, KeyError, ValueError, TypeError, OSError)
# A file that is being written has this long to take its place; then whoever wrote it is gone.
_WRITING_S = 3600.0


@dataclass(slots=True)
class FeatureFiles:
    """The entries in ``folder``, of ``limit_bytes`` together at most; 0: nothing is read or written."""

    folder: Path
    limit_bytes: int = _DEFAULT_MB * _MB
    # What the folder holds as far as this process knows: it is looked through once, and again when it is full.
    _total_bytes: int | None = None

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> FeatureFiles:
        """The user's own, as the setting ``feature_cache_mb`` limits it. Raises UsageError for a bad setting."""
        return cls._limited("features", "feature_cache_mb", _DEFAULT_MB, environ)

    @classmethod
    def of_weights(cls, environ: Mapping[str, str] = os.environ) -> FeatureFiles:
        """Quantised weights, which lie in a folder beside; the setting is ``quantized_cache_mb``. Raises UsageError."""
        return cls._limited("quantized", "quantized_cache_mb", _DEFAULT_WEIGHTS_MB, environ)

    @classmethod
    def _limited(cls, folder: str, name: str, default_mb: int, environ: Mapping[str, str]) -> FeatureFiles:
        limit_mb = setting(name, None, default_mb, environ=environ)
        if limit_mb < 0:
            raise UsageError(f"{name} cannot be {limit_mb}", "give megabytes; 0 keeps nothing on disk")
        return cls(cache_dir(environ) / folder, limit_mb * _MB)

    def read(self, key: str) -> Fields | None:
        """An entry, on the CPU, which counts as used now; None where there is none. A damaged one is deleted."""
        if self.limit_bytes == 0:
            return None
        path = self._path(key)
        try:
            fields = _load(path)
        except FileNotFoundError:
            return None
        except _DAMAGE:
            _delete(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return fields

    def write(self, key: str, fields: Fields, model: ModelInfo) -> None:
        """Keep an entry, and let the oldest go for it.

        A disk that is full or cannot be written costs the next question its time, not this one its answer.
        """
        content = _dump(fields, model) if self.limit_bytes else b""
        if len(content) > self.limit_bytes or not content:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._path(key)) as stream:
                stream.write(content)
        except OSError:
            return
        if self._total_bytes is not None:
            self._total_bytes += len(content)
        if self._total_bytes is None or self._total_bytes > self.limit_bytes:
            self.prune()
            self._total_bytes = sum(state.st_size for _, state in self._files())

    def listed(self) -> FeatureCache:
        """What is kept, the most recently used first."""
        now = time.time()
        entries = [_entry(path, state, now) for path, state in reversed(self._files())]
        return FeatureCache(str(self.folder), self.limit_bytes, tuple(entries))

    def prune(self, limit_bytes: int | None = None) -> Cleared:
        """Delete the least recently used entries until the rest fits into ``limit_bytes``, by default its own limit."""
        limit_bytes = self.limit_bytes if limit_bytes is None else limit_bytes
        self._delete_abandoned()
        files = self._files()
        surplus = sum(state.st_size for _, state in files) - limit_bytes
        doomed = []
        for path, state in files:
            if surplus <= 0:
                break
            doomed.append(path)
            surplus -= state.st_size
        return self._clear(doomed)

    def remove(self, models: Collection[str] | None = None) -> Cleared:
        """Delete every entry, or those of models that go by one of these ids."""
        files = self._files()
        if models is None:
            return self._clear([path for path, _ in files])
        return self._clear([path for path, state in files if _entry(path, state, 0.0).model in models])

    def _clear(self, paths: Collection[Path]) -> Cleared:
        before = {path: state.st_size for path, state in self._files()}
        for path in paths:
            _delete(path)
        left = {path: state.st_size for path, state in self._files()}
        gone = [size for path, size in before.items() if path not in left]
        return Cleared(str(self.folder), len(gone), sum(gone), len(left), sum(left.values()))

    def _delete_abandoned(self) -> None:
        for path in self.folder.glob(".*.part"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _WRITING_S:
                    path.unlink()

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """The entries' files, the least recently used first; another process may delete some meanwhile."""
        found = []
        for path in self.folder.glob("*.safetensors"):
            with suppress(OSError):
                found.append((path, path.stat()))
        return sorted(found, key=lambda file: (file[1].st_mtime_ns, file[0].name))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def digest(tensors: Mapping[str, Tensor], *words: str) -> str:
    """The SHA-256 of tensors, by name, dtype, shape and content, and of words."""
    import hashlib

    import torch

    summed = hashlib.sha256(json.dumps(words).encode())
    for name, tensor in tensors.items():
        summed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        summed.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return summed.hexdigest()


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same lists around what ``change`` makes of each thing in them."""
    return [mapped(part, change) for part in value] if isinstance(value, list) else change(value)


def _dump(fields: Fields, model: ModelInfo) -> bytes:
    """A safetensors file of numbered tensors; its metadata have the fields, with numbers where tensors were."""
    import safetensors.torch

    tensors: dict[str, Tensor] = {}

    def number(tensor: Tensor) -> str:
        tensors[name := str(len(tensors))] = tensor
        return name

    about = {
        "model": {"id": model.id, "revision": model.revision, "dtype": model.dtype},
        "fields": {name: mapped(value, number) for name, value in fields.items()},
        "sha256": digest(tensors),
    }
    return safetensors.torch.save(tensors, metadata={ABOUT: json.dumps(about)})


def _load(path: Path) -> Fields:
    """Raises what is in _DAMAGE for anything but a whole entry."""
    with safetensors.safe_open(path, framework="pt") as opened:
        about = json.loads((opened.metadata() or {})[ABOUT])
        tensors = {str(i): opened.get_tensor(str(i)).clone() for i in range(len(opened.keys()))}
    if digest(tensors) != about["sha256"]:
        raise ValueError("other tensors than were written")
    return {name: mapped(value, tensors.__getitem__) for name, value in about["fields"].items()}


def _entry(path: Path, state: os.stat_result, now: float) -> KeptFeatures:
    try:
        with safetensors.safe_open(path, framework="numpy") as opened:
            model: dict[str, Any] = json.loads((opened.metadata() or {})[ABOUT])["model"]
        info = (str(model["id"]), model["revision"], str(model["dtype"]))
    except _DAMAGE:
        info = ("(damaged)", None, "-")
    return KeptFeatures(path.stem, *info, state.st_size, max(now - state.st_mtime, 0.0))


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
