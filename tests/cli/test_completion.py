"""Names of models on a Tab press."""

from __future__ import annotations

from pathlib import Path

from vlmcli.catalog import Catalog
from vlmcli.cli.options import complete_model


def test_names_are_completed() -> None:
    name = Catalog.load().default("vlm").name
    assert name in complete_model(name[:3])
    assert complete_model("no such model") == []


def test_a_broken_catalogue_of_the_user_is_silent(tmp_path: Path) -> None:
    (tmp_path / "config" / "models.toml").write_text("[broken")
    assert complete_model("") == []
