"""Repositories of the Hugging Face hub, downloaded into its own cache."""

from __future__ import annotations

import errno
import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from vlmcli.errors import ModelError, ModelNotFound, Offline, VlmError, first_line
from vlmcli.weights.disk import FreeBytes, check_space, free_bytes
from vlmcli.weights.folder import CONFIGURATION, READ

# The same weights in other layouts (Meta's, Mistral's, OpenCLIP's, half precision), which transformers never reads.
_IGNORED = ("original/*", "onnx/*", "*consolidated*", "open_clip*.safetensors", "*.fp16.safetensors")


class Hub(Protocol):
    """Where repositories are downloaded from."""

    def fetch(
        self, repo: str, revision: str | None, *, file: str | None, offline: bool, progress: bool, weights: bool = True
    ) -> Path:
        """Return the folder of a snapshot that holds a checkpoint, or only ``file``, or no ``weights``.

        Raises ModelNotFound, Offline or ModelError, and VlmError where the disk is too full.
        """
        ...

    def folder(self, repo: str) -> Path:
        """Return where everything of a repository is kept, whether it is there or not."""
        ...


class HuggingFaceHub:
    """The hub that HF_ENDPOINT names, through huggingface_hub's cache (HF_HOME), with HF_TOKEN.

    A connection that breaks is taken up at the byte where it broke, and a later call keeps every file that is whole.
    """

    def __init__(
        self, cache_dir: Path | None = None, endpoint: str | None = None, free: FreeBytes = free_bytes
    ) -> None:
        self._cache_dir = cache_dir
        self._endpoint = endpoint
        self._free = free

    def fetch(
        self, repo: str, revision: str | None, *, file: str | None, offline: bool, progress: bool, weights: bool = True
    ) -> Path:
        """Download what is missing of a snapshot; with ``offline`` only look into the cache."""
        wanted = [glob.escape(file)] if file else list(READ if weights else CONFIGURATION)
        with _bars(progress):
            if not offline:
                self._check_space(repo, revision, wanted)
            try:
                return Path(self._snapshot(repo, revision, wanted, local_files_only=offline))
            except Exception as error:  # huggingface_hub lets errors of its HTTP and storage libraries through
                raise _hub_error(error, repo, revision, offline) from error

    def folder(self, repo: str) -> Path:
        """Return the repository's folder in the cache: all its revisions, and what was cut."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        name: str = repo_folder_name(repo_id=repo, repo_type="model")
        return Path(self._cache_dir or constants.HF_HUB_CACHE) / name

    def _snapshot(self, repo: str, revision: str | None, wanted: list[str], **options: bool) -> Any:
        from huggingface_hub import snapshot_download

        return snapshot_download(
            repo,
            revision=revision,
            cache_dir=self._cache_dir,
            endpoint=self._endpoint,
            allow_patterns=wanted,
            ignore_patterns=list(_IGNORED),
            **options,
        )

    def _check_space(self, repo: str, revision: str | None, wanted: list[str]) -> None:
        """Compare what is to be downloaded, in the hub's own figures, with the free disk. Raises VlmError."""
        try:
            self._snapshot(repo, revision, wanted, local_files_only=True)
            return  # it is all there: no need to ask the hub a second time
        except Exception:
            pass
        try:
            plan = self._snapshot(repo, revision, wanted, dry_run=True)
        except Exception:
            return  # whatever it is, the download itself will say it
        missing = sum(file.file_size or 0 for file in plan if file.will_download)
        check_space(self.folder(repo), missing, repo, self._free)


@contextmanager
def _bars(progress: bool) -> Iterator[None]:
    """huggingface_hub's own progress bars, on stderr, only where they are wanted."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    silenced = not progress and not are_progress_bars_disabled()
    if silenced:
        disable_progress_bars()
    try:
        yield
    finally:
        if silenced:
            enable_progress_bars()


def _hub_error(error: Exception, repo: str, revision: str | None, offline: bool) -> VlmError:
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
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return VlmError(f"the disk is full: {where} is not complete", "free some space; what has arrived is kept")
    return ModelError(f"downloading {where} failed: {first_line(error)}", "try again; what is complete is kept")
