"""Safetensors headers: every cut and every damage is an error that names the file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.weights.fakes import checkpoint
from vlmcli.errors import ModelError
from vlmcli.weights.safetensors import check_safetensors


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
