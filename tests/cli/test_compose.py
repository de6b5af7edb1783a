"""vlm compose, from the command line to the catalogue."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmcli.api.load import load
from vlmcli.cli.main import main
from vlmcli.cli.runtime import Runtime
from vlmcli.weights.resolve import Checkpoint


@pytest.fixture
def vlm(checkpoint: Callable[[str], Checkpoint]) -> Callable[..., tuple[int, str, str]]:
    """``vlm("mine", "--fusion", "hybrid")``: compose tiny parts; exit code, stdout and stderr."""
    parts = ("--vision", str(checkpoint("siglip").folder), "--decoder", str(checkpoint("llama").folder))

    def run(*words: str) -> tuple[int, str, str]:
        stdout, stderr = io.StringIO(), io.StringIO()
        code = main(["compose", *parts, *words], Runtime(load, None, stdout, stderr))
        return code, stdout.getvalue(), stderr.getvalue()

    return run


def test_compose_writes_an_entry_and_says_what_is_random(vlm: Callable[..., tuple[int, str, str]]) -> None:
    code, stdout, stderr = vlm("mine", "--fusion", "cross-attention", "--every", "2", "--json")
    assert code == 0
    made = json.loads(stdout)
    assert [part["role"] for part in made["parts"]] == ["vision", "projector", "cross-attention", "decoder"]
    assert "random" in stderr or any("random" in note for note in made["notes"])
    assert "[models." in Path(os.environ["VLM_CONFIG_DIR"], "models.toml").read_text()


def test_compose_shows_a_table(vlm: Callable[..., tuple[int, str, str]]) -> None:
    code, stdout, stderr = vlm("mine", "--projector", "perceiver", "--vision", "patches:8:32")
    assert code == 0
    assert "the pixels alone" in stdout and "fusion: concat" in stdout
    assert "models.toml\n" in stderr and "mine.safetensors\n" in stderr
    assert stderr.endswith("mine: the projector is random: it has not been trained\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("mine", "--fusion", "glue"), 2, "fusion must be one of"),
        (("mine", "--projector", "no-such-thing"), 4, "no model is called 'no-such-thing'"),
        (("mine", "--vision", "patches:7:32"), 4, "cannot be cut into patches of 7"),
        (("mine", "--every", "9", "--fusion", "hybrid"), 4, "does not fit a decoder of 2"),
        (("mine", "--projector", "gone.safetensors"), 4, "gone.safetensors"),
        (("picturebook",), 2, "in the catalogue already"),
        ((), 2, "Missing argument"),
    ],
)
def test_what_cannot_be_composed_is_one_line(
    vlm: Callable[..., tuple[int, str, str]], words: tuple[str, ...], code: int, message: str
) -> None:
    outcome = vlm(*words)
    assert outcome[0] == code
    assert message in outcome[2] and outcome[2].count("\n") == 1
    assert not Path(os.environ["VLM_CONFIG_DIR"], "models.toml").exists()
