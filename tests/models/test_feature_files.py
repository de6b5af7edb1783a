"""The folder of kept features: a limit that holds, and a look at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from vlmcli.errors import UsageError
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.types.result import ModelInfo

ONE = ModelInfo("one", "v1", "float32", "cpu")
OTHER = ModelInfo("other", None, "bfloat16", "cpu")
FEATURES = {"pooler_output": [torch.rand(4, 8)], "deep": [[torch.ones(2)], []], "mark": torch.zeros(3).bfloat16()}


def kept(folder: Path, *keys: str, model: ModelInfo = ONE, limit_bytes: int = 10**6) -> FeatureFiles:
    """Entries that were used one after the other, a minute apart, the last of them an hour after the epoch."""
    files = FeatureFiles(folder, limit_bytes)
    for i, key in enumerate(keys):
        files.write(key, FEATURES, model)
        os.utime(folder / f"{key}.safetensors", (3600 - 60 * (len(keys) - i),) * 2)
    return files


def keys(files: FeatureFiles) -> list[str]:
    return [entry.key for entry in files.listed().entries]


def test_an_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    found = kept(tmp_path, "a").read("a")
    assert found is not None and found.keys() == FEATURES.keys()
    assert torch.equal(found["pooler_output"][0], FEATURES["pooler_output"][0])
    assert torch.equal(found["mark"], FEATURES["mark"]) and found["mark"].dtype == torch.bfloat16
    assert [len(layer) for layer in found["deep"]] == [1, 0]
    assert FeatureFiles(tmp_path).read("b") is None


def test_what_is_there(tmp_path: Path) -> None:
    kept(tmp_path, "a", "b")
    kept(tmp_path, "c", model=OTHER)
    cache = FeatureFiles(tmp_path, 5).listed()
    assert [(entry.key, entry.model, entry.revision, entry.dtype) for entry in cache.entries] == [
        ("c", "other", None, "bfloat16"),
        ("b", "one", "v1", "float32"),
        ("a", "one", "v1", "float32"),
    ]
    assert cache.size_bytes == sum(file.stat().st_size for file in tmp_path.iterdir()) and cache.limit_bytes == 5
    assert cache.entries[0].age_s > 10**9
    (tmp_path / "c.safetensors").write_bytes(b"no tensors")
    assert FeatureFiles(tmp_path).listed().entries[-1].model == "one"
    assert FeatureFiles(tmp_path).listed().entries[0].model == "(damaged)"
    assert FeatureFiles(tmp_path / "nowhere").listed().entries == ()


def test_the_limit_holds_and_the_least_recently_used_go_first(tmp_path: Path) -> None:
    size = kept(tmp_path, "a").listed().size_bytes
    files = kept(tmp_path, "a", "b", "c", limit_bytes=3 * size + 1)
    assert files.read("a") is not None  # used now
    files.write("d", FEATURES, ONE)
    assert sorted(keys(files)) == ["a", "c", "d"]
    FeatureFiles(tmp_path, size - 1).write("e", FEATURES, ONE)
    assert sorted(keys(files)) == ["a", "c", "d"], "what is larger than everything may be is not written"


def test_prune(tmp_path: Path) -> None:
    files = kept(tmp_path, "a", "b", "c")
    size = files.listed().size_bytes // 3
    assert files.prune().entries == 0
    cleared = files.prune(size)
    assert (cleared.entries, cleared.size_bytes, cleared.left, cleared.left_bytes) == (2, 2 * size, 1, size)
    assert keys(files) == ["c"]
    abandoned, written = tmp_path / ".x.part", tmp_path / ".y.part"
    abandoned.touch()
    written.touch()
    os.utime(abandoned, (0, 0))
    assert files.prune(0).left == 0
    assert [file.name for file in tmp_path.iterdir()] == [".y.part"], "another process may be writing it"


def test_remove_one_model_s_or_all(tmp_path: Path) -> None:
    files = kept(tmp_path, "a", "b")
    kept(tmp_path, "c", model=OTHER)
    assert files.remove({"nobody"}).entries == 0
    assert files.remove({"one"}).left == 1 and keys(files) == ["c"]
    assert files.remove().entries == 1 and keys(files) == []


def test_the_user_s_limit(tmp_path: Path) -> None:
    environ = {"VLM_CACHE_DIR": str(tmp_path), "VLM_CONFIG_DIR": str(tmp_path)}
    assert FeatureFiles.of_user(environ) == FeatureFiles(tmp_path / "features", 2048 * 10**6)
    assert FeatureFiles.of_user({**environ, "VLM_FEATURE_CACHE_MB": "0"}).limit_bytes == 0
    (tmp_path / "config.toml").write_text("feature_cache_mb = 7")
    assert FeatureFiles.of_user(environ).limit_bytes == 7 * 10**6
    for bad in ("-1", "much"):
        with pytest.raises(UsageError, match=r"(?i)feature_cache_mb"):
            FeatureFiles.of_user({**environ, "VLM_FEATURE_CACHE_MB": bad})


def test_nothing_is_read_or_written_without_a_limit_above_0(tmp_path: Path) -> None:
    kept(tmp_path, "a")
    off = FeatureFiles(tmp_path, 0)
    off.write("b", FEATURES, ONE)
    assert off.read("a") is None and keys(off) == ["a"]
