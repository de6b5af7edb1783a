"""What many tests share: tiny checkpoints, made and loaded once for the whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmcli.weights.resolve import Checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkpoint]:
    """``checkpoint("llava")``: the folder of a tiny random model of that family (see tests/tiny.py)."""
    made: dict[str, Checkpoint] = {}

    def get(family: str) -> Checkpoint:
        import torch

        from tests import tiny

        if family not in made:
            if family in tiny.TIMM:
                pytest.importorskip("timm", reason="timm is not installed: pip install 'vlmcli[timm]'")
            torch.manual_seed(0)  # some families draw class embeddings and the like when they are built
            folder = tiny.FAMILIES[family](tmp_path_factory.mktemp(family))
            made[family] = Checkpoint(folder, family, None, None)
        return made[family]

    return get


@pytest.fixture(scope="session")
def model(checkpoint: Callable[[str], Checkpoint]) -> Callable[[str], Any]:
    """``model("llava")``: the same, loaded on the CPU; shared, so tests must leave it as it is."""
    loaded: dict[str, Any] = {}

    def get(family: str) -> Any:
        from vlmcli.models.load import load

        if family not in loaded:
            loaded[family] = load(checkpoint(family), device="cpu")
        return loaded[family]

    return get


@pytest.fixture
def folder_of(checkpoint: Callable[[str], Checkpoint], tmp_path: Path) -> Callable[[str], Path]:
    """``folder_of("llava")``: a copy of that checkpoint which the test may spoil."""
    import shutil

    return lambda family: Path(shutil.copytree(checkpoint(family).folder, tmp_path / family))
