"""The hub's cache: enough when offline, and never begun to be filled where the disk is too small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from tests.weights.fakes import COMMIT, in_cache
from vlmcli.catalog import Catalog
from vlmcli.errors import Offline, VlmError
from vlmcli.weights.hub import HuggingFaceHub
from vlmcli.weights.resolve import resolve

CATALOG = Catalog({}, {})


def test_offline_the_cache_is_enough(tmp_path: Path) -> None:
    folder = in_cache(tmp_path)
    found = resolve("me/mine", CATALOG, hub=HuggingFaceHub(tmp_path), environ={"HF_HUB_OFFLINE": "1"})
    assert (found.folder, found.id, found.revision) == (folder, "me/mine", COMMIT)


def test_offline_and_not_in_the_cache(tmp_path: Path) -> None:
    with pytest.raises(Offline, match="HF_HUB_OFFLINE is set") as caught:
        resolve("me/mine", CATALOG, hub=HuggingFaceHub(tmp_path), environ={"HF_HUB_OFFLINE": "1"})
    assert caught.value.exit_code == 4


def test_a_hub_that_cannot_be_reached_falls_back_on_the_cache(tmp_path: Path) -> None:
    closed = HuggingFaceHub(tmp_path, endpoint="http://127.0.0.1:9")
    with pytest.raises(Offline, match="cannot be reached"):
        resolve("me/mine", CATALOG, hub=closed, environ={})
    folder = in_cache(tmp_path)
    assert resolve("me/mine", CATALOG, hub=closed, environ={}).folder == folder


@dataclass
class Planned:
    """What huggingface_hub says of a file that it would download."""

    file_size: int
    will_download: bool


@pytest.mark.parametrize(("begun", "fits"), [(0, False), (600, True)])
def test_the_disk_is_looked_at_before_the_first_byte(
    begun: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier, cut download has left counts as arrived; what is cached counts not at all."""
    downloads: list[str] = []

    def snapshot_download(repo: str, *, dry_run: bool = False, local_files_only: bool = False, **_: Any) -> Any:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not there")
        if dry_run:
            return [Planned(1000, True), Planned(9999, False)]
        downloads.append(repo)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    hub = HuggingFaceHub(tmp_path, free=lambda folder: 500)
    if begun:
        blobs = hub.folder("me/mine") / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "abc.incomplete").write_bytes(b"0" * begun)
    if fits:
        hub.fetch("me/mine", None, file=None, offline=False, progress=False)
    else:
        with pytest.raises(VlmError, match="me/mine needs"):
            hub.fetch("me/mine", None, file=None, offline=False, progress=False)
    assert downloads == (["me/mine"] if fits else [])
