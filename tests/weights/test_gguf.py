"""GGUF headers: what the format's own writer writes passes, every cut and every damage is an error."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_gguf
from vlmcli.errors import ModelError
from vlmcli.weights.gguf import check_gguf


@pytest.fixture
def whole(checkpoint: Callable[[str], Any], tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    tiny_gguf.llama(path, checkpoint("llama").folder, quantised=True)
    return path


def test_what_the_gguf_package_writes_passes(whole: Path) -> None:
    header = check_gguf(whole)
    assert header.architecture == "llama"
    assert header.values["llama.block_count"] == 2
    assert header.values["tokenizer.ggml.tokens"] > 256, "of an array the length is kept"
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    assert shapes["blk.0.ffn_up.weight"] == (64, 32)


def test_every_cut_is_noticed(whole: Path) -> None:
    content = whole.read_bytes()
    start = check_gguf(whole).data_start
    for length in [*range(0, 40), *range(40, start, 211), *range(start, len(content) - 32, 503), len(content) - 33]:
        whole.write_bytes(content[:length])
        with pytest.raises(ModelError) as caught:
            check_gguf(whole)
        assert str(whole) in caught.value.message, length


def test_damage_is_an_error_and_nothing_else(whole: Path) -> None:
    content, numbers = whole.read_bytes(), random.Random(0)
    start = check_gguf(whole).data_start
    noticed = 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[numbers.randrange(4, 400 if numbers.random() < 0.5 else start)] ^= 1 << numbers.randrange(8)
        whole.write_bytes(damaged)
        try:
            check_gguf(whole)
        except ModelError:
            noticed += 1
    assert noticed > 20


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no GGUF file"),
        (b"ggml" + b"\0" * 40, "no GGUF file"),
        (b"GGUF" + struct.pack("<I", 1) + b"\0" * 40, "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + b"\0" * 40, "version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "cut short"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "cut short"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "cut short"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_what_is_none(content: bytes, word: str, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=word):
        check_gguf(file)


def test_one_part_of_several_says_what_to_run(tmp_path: Path) -> None:
    file = tiny_gguf.header_only(tmp_path / "m-00001-of-00003.gguf", split__count=3)
    with pytest.raises(ModelError, match="one of 3 parts") as caught:
        check_gguf(file)
    assert "--merge" in (caught.value.hint or "")
