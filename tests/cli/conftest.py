"""Every test has its own empty configuration and cache, and some files."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.mkdir()
    monkeypatch.setenv("VLM_CONFIG_DIR", str(config))
    monkeypatch.setenv("VLM_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("MODEL", "DEVICE", "DTYPE", "THREADS", "MAX_PIXELS", "DEBUG", "FEATURE_CACHE_MB"):
        monkeypatch.delenv(f"VLM_{name}", raising=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with two files, a.png and b.png."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"an image, as far as the command line can see")
    monkeypatch.chdir(folder)
    return folder
