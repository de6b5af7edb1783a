"""Folders: what can be loaded safely passes, everything else is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.weights.fakes import checkpoint
from vlmcli.catalog import Catalog
from vlmcli.errors import ModelError
from vlmcli.weights.folder import weight_files
from vlmcli.weights.resolve import resolve

CATALOG = Catalog({}, {})


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
