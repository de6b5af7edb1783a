"""What a model needs is known before it is read, and said beside what is free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vlmcli.errors import OutOfMemory
from vlmcli.models import fit
from vlmcli.models import load as loading
from vlmcli.models.load import load

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_the_headers_say_is_what_the_weights_take(checkpoint: Any, dtype: torch.dtype) -> None:
    loaded = load(checkpoint("llava"), device="cpu", dtype=str(dtype).removeprefix("torch."))
    taken = sum(parameter.nbytes for parameter in loaded.model.parameters())
    assert fit.needed_bytes(checkpoint("llava"), dtype) == taken


def test_too_little_memory_is_said_before_a_weight_is_read(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = fit.needed_bytes(checkpoint("llava"), torch.float32)
    monkeypatch.setattr(loading, "free_bytes", lambda device: needed - 1)
    monkeypatch.setattr(loading, "_read", lambda *_: pytest.fail("it was read"))
    with pytest.raises(OutOfMemory, match=r"llava needs 0\.\d GB .* float32, and 0\.\d GB are free on cpu") as raised:
        load(checkpoint("llava"), device="cpu")
    assert raised.value.exit_code == 5


def test_just_enough_is_enough(checkpoint: Any) -> None:
    needed = fit.needed_bytes(checkpoint("llava"), torch.float32)
    for free in (needed, None):
        fit.check_memory(checkpoint("llava"), torch.float32, CPU, free)


def test_the_smaller_of_machine_and_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:  8 kB\n")
    monkeypatch.setattr(fit, "_MEMINFO", meminfo)
    monkeypatch.setattr(fit, "_GROUP", tmp_path)
    assert fit.free_bytes(CPU) == 8192
    (tmp_path / "memory.max").write_text("7000\n")
    (tmp_path / "memory.current").write_text("6000\n")
    (tmp_path / "memory.stat").write_text("anon 5000\nfile 1000\n")
    assert fit.free_bytes(CPU) == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert fit.free_bytes(CPU) == 8192


def test_a_system_that_does_not_say_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(fit, "_GROUP", tmp_path)
    assert fit.free_bytes(CPU) is None
