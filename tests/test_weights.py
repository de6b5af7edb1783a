"""Weights: every name ends in a checked folder or in an error that says what to do; nothing here touches a network."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vlmcli.catalog import Catalog, ModelSpec
from vlmcli.errors import ModelError, ModelNotFound, Offline
from vlmcli.weights import (
    Checkpoint,
    HuggingFaceHub,
    cached,
    check_safetensors,
    pinned_revision,
    resolve,
    weight_files,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CATALOG = Catalog(
    {
        "known": ModelSpec("known", "vlm", "hub:org/known", revision="v2"),
        "gone": ModelSpec("gone", "vlm", "path:/no/such/folder"),
    },
    {},
)


class FakeHub:
    """A hub with one repository, which remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str | None, bool]] = []

    def fetch(self, repo: str, revision: str | None, *, offline: bool, progress: bool) -> Path:
        self.asked.append((repo, revision, offline))
        return self.folder


class NoHub:
    """A hub that must not be asked."""

    def fetch(self, repo: str, revision: str | None, *, offline: bool, progress: bool) -> Path:
        raise AssertionError(f"the hub was asked for {repo}")


def checkpoint(folder: Path, name: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    tensors = {"a": torch.arange(6, dtype=torch.float32).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
    save_file(tensors | {"empty": torch.ones(0)}, folder / name, metadata={"format": "pt"})
    return folder


def written(path: Path, header: object, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


# Names


def test_a_folder_is_itself_and_never_asks_the_hub(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine")
    for name in (str(folder), folder, f"{folder}/"):
        found = resolve(name, CATALOG, hub=NoHub())
        assert (found.folder, found.revision, found.spec) == (folder, None, None)


def test_a_folder_that_looks_like_a_hub_id_is_still_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(tmp_path / "org" / "name")
    monkeypatch.chdir(tmp_path)
    assert resolve("org/name", CATALOG, hub=NoHub()).folder == Path("org/name")


def test_a_name_of_the_catalogue_takes_its_source_and_revision(tmp_path: Path) -> None:
    hub = FakeHub(checkpoint(tmp_path / COMMIT))
    found = resolve("known", CATALOG, hub=hub, environ={})
    assert hub.asked == [("org/known", "v2", False)]
    assert (found.id, found.revision, found.spec) == ("org/known", COMMIT, CATALOG.get("known"))


@pytest.mark.parametrize(
    ("name", "repo", "revision"),
    [
        ("me/mine", "me/mine", None),
        ("me/mine@v1.0", "me/mine", "v1.0"),
        ("me/mine@refs/pr/15", "me/mine", "refs/pr/15"),
        ("org/known", "org/known", "v2"),
        ("org/known@main", "org/known", "main"),
    ],
)
def test_a_hub_id_with_and_without_a_revision(name: str, repo: str, revision: str | None, tmp_path: Path) -> None:
    hub = FakeHub(checkpoint(tmp_path / COMMIT))
    found = resolve(name, CATALOG, hub=hub, environ={})
    assert hub.asked == [(repo, revision, False)]
    assert (found.id, found.revision) == (repo, COMMIT)
    assert (found.spec is not None) == (repo == "org/known"), "a known repository brings its chat template along"


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline_reaches_the_hub(value: str, offline: bool, tmp_path: Path) -> None:
    hub = FakeHub(checkpoint(tmp_path))
    resolve("me/mine", CATALOG, hub=hub, environ={"HF_HUB_OFFLINE": value})
    assert hub.asked == [("me/mine", None, offline)]


@pytest.mark.parametrize("name", ["knwon", "Known", "know"])
def test_an_unknown_name_offers_the_nearest(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        resolve(name, CATALOG, hub=NoHub())
    assert name in caught.value.message
    assert "known" in (caught.value.hint or "")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "~/no-such-folder-here", "../../x/y", "gone", ""])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(ModelNotFound):
        resolve(name, CATALOG, hub=NoHub())


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    file = checkpoint(tmp_path) / "model.safetensors"
    with pytest.raises(ModelError, match="is a file") as caught:
        resolve(file, CATALOG, hub=NoHub())
    assert str(tmp_path) in (caught.value.hint or "")


# Folders


def test_a_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve(tmp_path, CATALOG)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe{}"])
def test_a_config_that_is_no_json(content: bytes, tmp_path: Path) -> None:
    (checkpoint(tmp_path) / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve(tmp_path, CATALOG)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no safetensors weights"):
        resolve(tmp_path, CATALOG)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickles_are_refused_by_name_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match="pickle") as caught:
        resolve(tmp_path, CATALOG)
    assert name in caught.value.message
    assert "safetensors" in (caught.value.hint or "")


def test_a_pickle_beside_safetensors_is_left_alone(tmp_path: Path) -> None:
    (checkpoint(tmp_path) / "pytorch_model.bin").write_bytes(b"")
    assert [file.name for file in weight_files(resolve(tmp_path, CATALOG).folder)] == ["model.safetensors"]


def sharded(folder: Path, names: list[str]) -> Path:
    checkpoint(folder, "model-1.safetensors")
    index = {"weight_map": {f"tensor{i}": name for i, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_shards_are_found_by_their_index(tmp_path: Path) -> None:
    folder = sharded(tmp_path, ["model-1.safetensors", "model-1.safetensors"])
    (folder / "other.safetensors").write_bytes(b"not a part of it")
    assert weight_files(resolve(folder, CATALOG).folder) == (folder / "model-1.safetensors",)


def test_a_missing_shard_is_counted(tmp_path: Path) -> None:
    folder = sharded(tmp_path, ["model-1.safetensors", "model-2.safetensors"])
    with pytest.raises(ModelError, match=r"1 of 2 weight files are missing \(model-2"):
        resolve(folder, CATALOG)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "weights.bin"])
def test_an_index_cannot_point_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no safetensors file beside it"):
        resolve(sharded(tmp_path, [name]), CATALOG)


@pytest.mark.parametrize("content", ['{"weight_map": 3}', "{}", '{"weight_map": {"a": 3}}'])
def test_an_index_without_a_map(content: str, tmp_path: Path) -> None:
    (sharded(tmp_path, []) / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match="names no weight files"):
        resolve(tmp_path, CATALOG)


# Safetensors headers


def test_what_safetensors_writes_passes(tmp_path: Path) -> None:
    check_safetensors(checkpoint(tmp_path) / "model.safetensors")


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    file = checkpoint(tmp_path) / "model.safetensors"
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ModelError) as caught:
            check_safetensors(file)
        assert str(file) in caught.value.message
    file.write_bytes(whole + b"\0")
    with pytest.raises(ModelError, match="1 bytes after"):
        check_safetensors(file)


@pytest.mark.parametrize(
    "header",
    [
        [],
        "text",
        {"a": 3},
        {"a": {"dtype": "F32", "shape": [1]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}},
        {"a": {"dtype": "U8", "shape": [3], "data_offsets": [1, 4]}},
        {
            "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
            "b": {"dtype": "U8", "shape": [3], "data_offsets": [1, 4]},
        },
        {"a": {"dtype": "U8", "shape": [10**15], "data_offsets": [0, 10**15]}},
    ],
)
def test_a_damaged_header_is_an_error_and_nothing_else(header: object, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        check_safetensors(written(tmp_path / "m.safetensors", header, b"\0" * 4))


def test_a_header_longer_than_the_file_is_not_allocated(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    file.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(ModelError, match="cut short"):
        check_safetensors(file)


def test_a_git_lfs_pointer_says_what_to_run(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(ModelError, match="Git LFS pointer") as caught:
        check_safetensors(file)
    assert caught.value.hint == "run: git lfs pull"


# The hub's cache


def in_cache(cache: Path) -> Path:
    repository = cache / "models--me--mine"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return checkpoint(repository / "snapshots" / COMMIT)


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


# What pins a checkpoint down


def test_a_commit_pins_itself(tmp_path: Path) -> None:
    assert pinned_revision(Checkpoint(tmp_path, "org/model", COMMIT, None)) == COMMIT


@pytest.mark.parametrize("revision", [None, "main"])
def test_without_a_commit_every_file_that_is_loaded_counts(revision: str | None, tmp_path: Path) -> None:
    def pinned(folder: Path) -> str:
        return pinned_revision(Checkpoint(folder, "x", revision, None))

    folder = checkpoint(tmp_path / "first")
    before = pinned(folder)
    assert before.startswith("sha256:") and before == pinned(checkpoint(tmp_path / "second"))
    (folder / "README.md").write_text("no part of the model")
    assert pinned(folder) == before
    (folder / "preprocessor_config.json").write_text("{}")
    with_processor = pinned(folder)
    save_file({"a": torch.zeros(2, 3)}, folder / "model.safetensors")
    assert len({before, with_processor, pinned(folder)}) == 3
