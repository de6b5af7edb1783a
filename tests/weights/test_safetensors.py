"""Safetensors headers: every cut and every damage is an error that names the file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.weights.fakes import checkpoint
from vlmcli.errors import ModelError
from vlmcli.weights.folder import stored_weights
from vlmcli.weights.safetensors import Weight, check_safetensors


def written(path: Path, header: object, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


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


def test_a_header_lists_the_weights(tmp_path: Path) -> None:
    file = checkpoint(tmp_path) / "model.safetensors"
    listed = {weight.name: weight for weight in stored_weights(tmp_path)}
    assert listed["a"] == Weight("a", "float32", (2, 3), 24) and listed["a"].elements == 6
    assert listed["b"] == Weight("b", "bfloat16", (4,), 8)
    assert set(listed) == {"a", "b", "empty"}
    content = file.read_bytes()
    file.write_bytes(content[: 8 + int.from_bytes(content[:8], "little")])
    assert {weight.name: weight for weight in stored_weights(tmp_path)} == listed, "the tensors' bytes are not needed"


@pytest.mark.parametrize(
    ("stored", "name"), [("F16", "float16"), ("I8", "int8"), ("F8_E4M3", "float8_e4m3"), ("BOOL", "bool")]
)
def test_formats_have_torch_s_names(stored: str, name: str, tmp_path: Path) -> None:
    checkpoint(tmp_path)
    width = 2 if stored == "F16" else 1
    written(tmp_path / "model.safetensors", {"a": {"dtype": stored, "shape": [1], "data_offsets": [0, width]}})
    assert stored_weights(tmp_path) == (Weight("a", name, (1,), width),)


def test_a_damaged_header_lists_nothing(tmp_path: Path) -> None:
    written(checkpoint(tmp_path) / "model.safetensors", {"a": {"dtype": "F32"}})
    with pytest.raises(ModelError, match="damaged"):
        stored_weights(tmp_path)
