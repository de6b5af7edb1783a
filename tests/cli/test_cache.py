"""vlm cache: what is kept of images, shown and deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.cli.fakes import Outcome, run
from vlmcli.api.load import load
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.types.result import ModelInfo
from vlmcli.weights.resolve import Checkpoint


def keep(*models: str) -> None:
    """An entry for each model, in the user's own cache."""
    for i, name in enumerate(models):
        FeatureFiles.of_user().write(
            f"{i:02}" * 32, {"pooler_output": torch.zeros(100)}, ModelInfo(name, None, "float32", "cpu")
        )


def written(*argv: str) -> Any:
    outcome = run("cache", *argv, "--json")
    assert outcome.code == 0, outcome.stderr
    return json.loads(outcome.stdout)


def test_an_empty_cache() -> None:
    outcome = run("cache", "ls")
    assert (outcome.code, outcome.stdout) == (0, "")
    assert outcome.stderr.startswith("0 entries, 0 B of 2.0 GB: ")
    assert written("ls")["entries"] == []
    assert run("cache", "rm").stdout.startswith("removed 0 entries")


def test_alone_it_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cache").code == 0
    page = capsys.readouterr().out
    assert all(f"  {name} " in page for name in ("ls", "rm", "prune"))


def test_quantised_weights_are_listed_and_deleted_too() -> None:
    keep("picturebook")
    FeatureFiles.of_weights().write("ab" * 32, {"x": torch.zeros(100)}, ModelInfo("org/name", None, "int8", "cpu"))
    assert {(entry["model"], entry["dtype"]) for entry in written("ls")["entries"]} == {
        ("picturebook", "float32"),
        ("org/name", "int8"),
    }
    assert written("rm", "-m", "org/name")["cleared"]["left"] == 1
    keep("picturebook")
    FeatureFiles.of_weights().write("ab" * 32, {"x": torch.zeros(100)}, ModelInfo("org/name", None, "int8", "cpu"))
    assert written("prune", "--max-mb", "0")["cleared"]["left"] == 0


def test_ls() -> None:
    keep("picturebook", "org/name")
    outcome = run("cache", "ls")
    heading, *rows = outcome.stdout.splitlines()
    assert heading.split() == ["entry", "model", "dtype", "size", "unused", "for"]
    assert sorted(row.split()[:3] for row in rows) == [
        ["000000000000", "picturebook", "float32"],
        ["010101010101", "org/name", "float32"],
    ]
    assert outcome.stderr.startswith("2 entries, ")
    result = written("ls")
    assert result["size_bytes"] == sum(entry["size_bytes"] for entry in result["entries"]) > 800
    assert {entry["model"] for entry in result["entries"]} == {"picturebook", "org/name"}
    *events, done = map(json.loads, run("cache", "ls", "--jsonl").stdout.splitlines())
    assert [event["type"] for event in events] == ["features", "features"]
    assert done["type"] == "done" and len(done["entries"]) == 2


def test_rm_takes_all_or_those_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "config" / "models.toml").write_text('[models.short]\nkind = "vlm"\nsource = "hub:org/name"\n')
    keep("picturebook", "org/name", "org/name")
    assert written("rm", "-m", "nobody")["cleared"]["entries"] == 0
    before = written("ls")["size_bytes"]
    cleared = written("rm", "-m", "short")["cleared"]
    assert (cleared["entries"], cleared["left"]) == (2, 1)
    assert cleared["left_bytes"] == written("ls")["size_bytes"] == before - cleared["size_bytes"]
    assert [entry["model"] for entry in written("ls")["entries"]] == ["picturebook"]
    assert run("cache", "rm").stdout.startswith("removed 1 entry, ")
    assert written("ls")["entries"] == []


def test_prune(monkeypatch: Any) -> None:
    keep("one", "two")
    assert written("prune")["cleared"]["left"] == 2
    assert written("prune", "--max-mb", "0")["cleared"] | {"folder": "", "size_bytes": 0} == {
        "folder": "",
        "entries": 2,
        "size_bytes": 0,
        "left": 0,
        "left_bytes": 0,
    }
    assert run("cache", "prune", "--max-mb", "-1").code == 2
    monkeypatch.setenv("VLM_FEATURE_CACHE_MB", "lots")
    assert run("cache", "ls").code == 2


def test_a_second_process_says_that_it_skipped_the_encoder(checkpoint: Callable[[str], Checkpoint], here: Path) -> None:
    tiny.picture().save(here / "a.png")
    folder = str(checkpoint("llava").folder)

    def asked(*flags: str) -> Outcome:
        """With a model of its own each time."""
        return run("ask", "a.png", "What?", "-m", folder, "--max-tokens", "3", "-v", *flags, load=load)

    first, again, anew = asked(), asked(), asked("--no-cache")
    assert first.stdout == again.stdout == anew.stdout
    assert ["from the cache" in outcome.stderr for outcome in (first, again, anew)] == [False, True, False]
    assert json.loads(asked("--json").stdout)["images"][0]["cached"] is True
    assert len(written("ls")["entries"]) == 1
