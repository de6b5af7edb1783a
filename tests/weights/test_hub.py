"""The hub's cache: enough when offline, and never begun to be filled where the disk is too small."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest

from tests.weights.fakes import COMMIT, checkpoint, in_cache
from vlmcli.catalog import Catalog
from vlmcli.errors import ModelError, Offline, VlmError
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


@pytest.mark.parametrize("fits", [False, True])
def test_the_disk_is_looked_at_before_the_first_byte(
    fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is cached already counts not at all."""
    downloads: list[str] = []

    def snapshot_download(repo: str, *, dry_run: bool = False, local_files_only: bool = False, **_: Any) -> Any:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not there")
        if dry_run:
            return [Planned(1000, True), Planned(9999, False)]
        downloads.append(repo)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    hub = HuggingFaceHub(tmp_path, free=lambda folder: 1000 if fits else 999)
    if fits:
        hub.fetch("me/mine", None, file=None, offline=False, progress=False)
    else:
        with pytest.raises(VlmError, match="me/mine needs"):
            hub.fetch("me/mine", None, file=None, offline=False, progress=False)
    assert downloads == (["me/mine"] if fits else [])


# A hub on 127.0.0.1


class Repository(BaseHTTPRequestHandler):
    """The few answers that a download needs; the next ``cuts`` answers with weights end after ``cut_bytes``."""

    files: ClassVar[dict[str, bytes]] = {}
    cuts: ClassVar[int] = 0
    cut_bytes: ClassVar[int] = 100
    sent: ClassVar[list[tuple[str, str | None]]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/me/mine/tree"):
            return self._json([self._entry(name) for name in self.files])
        if path.startswith("/api/models/me/mine"):
            return self._json(
                {"id": "me/mine", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            )
        return self._file(path.rpartition("/")[2])

    def _entry(self, name: str) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": name}

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str) -> None:
        wanted = self.headers["Range"]
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        body, headers = self.files[name][start:], {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT}
        if self.command == "GET":
            self.sent.append((name, wanted))
        if self.command == "GET" and name.endswith(".safetensors") and Repository.cuts:
            Repository.cuts -= 1
            self._send(206 if wanted else 200, body, headers, cut=self.cut_bytes)
            self.close_connection = True
        else:
            self._send(206 if wanted else 200, body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that has me/mine; huggingface_hub keeps what arrives 50 bytes at a time, and waits for nothing."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 50)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    made = checkpoint(tmp_path / "made")
    Repository.files = {file.name: file.read_bytes() for file in made.iterdir()}
    Repository.cuts, Repository.cut_bytes, Repository.sent = 0, 100, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_connection_that_breaks_is_taken_up_where_it_broke(endpoint: str, tmp_path: Path) -> None:
    Repository.cuts = 1
    found = resolve("me/mine", CATALOG, hub=HuggingFaceHub(tmp_path / "hub", endpoint), environ={})
    assert (found.folder / "model.safetensors").read_bytes() == Repository.files["model.safetensors"]
    assert ("model.safetensors", "bytes=100-") in Repository.sent
    assert found.revision == COMMIT


def test_a_download_that_was_given_up_keeps_what_is_whole_and_nothing_half(endpoint: str, tmp_path: Path) -> None:
    hub = HuggingFaceHub(tmp_path / "hub", endpoint)
    Repository.cuts, Repository.cut_bytes = 99, 10
    with pytest.raises(ModelError, match="me/mine"):
        resolve("me/mine", CATALOG, hub=hub, environ={})
    assert [path.name for path in (tmp_path / "hub").rglob("*.incomplete")] == []
    with pytest.raises(Offline):
        resolve("me/mine", CATALOG, hub=hub, environ={"HF_HUB_OFFLINE": "1"})
    Repository.cuts, Repository.sent = 0, []
    resolve("me/mine", CATALOG, hub=hub, environ={})
    assert {name for name, _ in Repository.sent} == {"model.safetensors"}


def test_the_hub_is_asked_for_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[list[str]] = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *_, allow_patterns, **__: asked.append(allow_patterns) or tmp_path
    )
    for weights in (True, False):
        HuggingFaceHub(tmp_path).fetch("me/mine", None, file=None, offline=False, progress=True, weights=weights)
    assert set(asked[0]) - set(asked[-1]) == {"*.safetensors"}
