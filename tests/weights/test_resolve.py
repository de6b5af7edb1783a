"""Names: every one ends in checked weights or in an error that says what to do; nothing here touches a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests import tiny_gguf
from tests.weights.fakes import COMMIT, FakeHub, NoHub, checkpoint
from vlmcli.catalog import Catalog, ModelSpec
from vlmcli.errors import ModelError, ModelNotFound
from vlmcli.weights.resolve import Checkpoint, pinned_revision, resolve

CATALOG = Catalog(
    {
        "known": ModelSpec("known", "vlm", "hub:org/known", revision="v2"),
        "gone": ModelSpec("gone", "vlm", "path:/no/such/folder"),
        "small": ModelSpec("small", "llm", "hub:org/small-GGUF", file="small.Q4_1.gguf"),
    },
    {},
)


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


# The configuration alone


def test_the_configuration_alone_needs_no_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    hub = FakeHub(tmp_path)
    for name in ("org/other", "known", str(tmp_path), tmp_path):
        assert resolve(name, CATALOG, weights=False, hub=hub, environ={}).folder == tmp_path
    assert hub.weights == [False, False]
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve("org/other", CATALOG, weights=False, hub=hub, environ={})


# GGUF files


def test_a_gguf_file_is_a_checkpoint_in_itself(tmp_path: Path) -> None:
    file = tiny_gguf.header_only(tmp_path / "m.gguf")
    for name in (str(file), file):
        found = resolve(name, CATALOG, hub=NoHub())
        assert (found.folder, found.gguf, found.revision) == (tmp_path, "m.gguf", None)


def test_a_catalogue_may_name_a_gguf_file_by_its_path(tmp_path: Path) -> None:
    file = tiny_gguf.header_only(tmp_path / "m.gguf")
    catalog = Catalog({"mine": ModelSpec("mine", "llm", f"path:{file}")}, {})
    assert resolve("mine", catalog, hub=NoHub()).gguf == "m.gguf"


@pytest.mark.parametrize("name", ["nothing.gguf", "org/nothing.gguf", "./nothing.GGUF"])
def test_a_gguf_file_that_is_not_there_is_no_hub_id(name: str) -> None:
    with pytest.raises(ModelNotFound, match="no such file"):
        resolve(name, CATALOG, hub=NoHub())


def test_a_repository_may_hold_a_gguf_file_that_the_catalogue_names(tmp_path: Path) -> None:
    hub = FakeHub(tmp_path / COMMIT)
    hub.snapshot.mkdir()
    with pytest.raises(ModelNotFound, match=r"no file small\.Q4_1\.gguf"):
        resolve("small", CATALOG, hub=hub, environ={})
    tiny_gguf.header_only(hub.snapshot / "small.Q4_1.gguf")
    found = resolve("small", CATALOG, hub=hub, environ={})
    assert (found.gguf, found.revision, hub.files[-1]) == ("small.Q4_1.gguf", COMMIT, "small.Q4_1.gguf")


def test_a_folder_with_nothing_but_a_gguf_file_names_it(tmp_path: Path) -> None:
    tiny_gguf.header_only(tmp_path / "m.gguf")
    with pytest.raises(ModelError) as caught:
        resolve(tmp_path, CATALOG, hub=NoHub())
    assert str(tmp_path / "m.gguf") in (caught.value.hint or "")


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
