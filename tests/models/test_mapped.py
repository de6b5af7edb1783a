"""A converted tensor's pages leave the process; memory that no file has stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vlmcli.models.mapped import let_go, let_go_when_converted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it does nothing")
BYTES = 8 << 20


def resident_bytes(address: int) -> int:
    """Of the mapping at an address, as the kernel counts it."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            low, high = (int(part, 16) for part in first.split("-"))
            inside = low <= address < high
        elif inside and first == "Rss:":
            return 1024 * int(line.split()[1])
    raise AssertionError("no such mapping")


def mapped(tmp_path: Path) -> torch.Tensor:
    save_file({"weight": torch.arange(BYTES // 2, dtype=torch.int16)}, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        return file.get_slice("weight")[...]  # type: ignore[no-any-return]


def test_pages_of_a_file_leave_and_come_back(tmp_path: Path) -> None:
    tensor = mapped(tmp_path)
    total = tensor.long().sum()
    before = resident_bytes(tensor.data_ptr())
    assert let_go(tensor)
    assert resident_bytes(tensor.data_ptr()) <= before - BYTES // 2
    assert tensor.long().sum() == total


def test_memory_of_no_file_stays() -> None:
    tensor = torch.arange(BYTES // 4, dtype=torch.int32)
    assert not let_go(tensor)
    assert tensor[-1] == BYTES // 4 - 1


def test_only_what_was_converted_is_let_go(tmp_path: Path) -> None:
    from transformers import core_model_loading

    original = core_model_loading._materialize_copy
    with let_go_when_converted():
        kept = core_model_loading._materialize_copy(mapped(tmp_path), dtype=torch.int16)
        assert resident_bytes(kept.data_ptr()) >= 0 and kept[-1] == mapped(tmp_path)[-1]
        made = core_model_loading._materialize_copy(mapped(tmp_path), dtype=torch.float32)
        assert torch.equal(made, mapped(tmp_path).float())
    assert core_model_loading._materialize_copy is original
