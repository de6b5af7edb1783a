"""A composition is built, saved and written down, or nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from vlmcli.catalog import Catalog
from vlmcli.errors import ModelError, UsageError, VlmError
from vlmcli.inputs.chat import Prompt
from vlmcli.models.load import load
from vlmcli.tasks.compose import compose
from vlmcli.types.chat import Message
from vlmcli.types.compose import Composed
from vlmcli.weights.resolve import Checkpoint, resolve

Put = Callable[..., Composed]


@pytest.fixture
def put(checkpoint: Callable[[str], Checkpoint], tmp_path: Path) -> Put:
    """``put("mine", fusion="hybrid")``: a tiny SigLIP and a tiny Llama, written into the test's own models.toml."""
    vision, decoder = (str(checkpoint(family).folder) for family in ("siglip", "llama"))

    def make(name: str = "mine", **table: Any) -> Composed:
        path = tmp_path / "models.toml"
        table = {"vision": vision, "projector": {"kind": "mlp"}, "decoder": decoder, **table}
        return compose(name, table, Catalog.load(path), path)

    return make


def test_what_was_composed_can_be_asked_by_its_name(put: Put) -> None:
    made = put(fusion="hybrid", every=1, tiles=4)
    assert [part.role for part in made.parts] == ["vision", "projector", "cross-attention", "decoder"]
    assert made.weights is not None and made.weights.is_file()
    vlm: Any = load(resolve("mine", Catalog.load(made.catalog)), device="cpu")
    assert sum(part.parameters for part in made.parts) == sum(p.numel() for p in vlm.model.parameters())
    assert vlm.info.notes == made.notes and len(made.notes) == 2
    asked = Prompt((Message("user", "What is this?", 1),), (tiny.picture(),))
    assert vlm.prefill(vlm.prepare(asked)).logits.isfinite().all()


def test_a_second_entry_leaves_the_first_as_it_is(put: Put) -> None:
    first = put("one").catalog.read_text()
    made = put("two")
    assert made.catalog.read_text().startswith(first)
    assert {spec.name for spec in Catalog.load(made.catalog).specs()} >= {"one", "two"}


def test_a_name_is_taken_once(put: Put) -> None:
    put("one")
    for name in ("one", "picturebook"):
        with pytest.raises(UsageError, match="in the catalogue already"):
            put(name)


def test_a_failure_leaves_nothing_behind(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError):
        put(projector={"kind": "average-pool", "factor": 3})
    assert list(tmp_path.glob("m*")) == []

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(VlmError, match="No space left"):
        patched.setattr(Path, "write_bytes", full)
        put()
    assert list(tmp_path.glob("m*")) == []
    with monkeypatch.context() as patched, pytest.raises(VlmError, match="No space left"):
        patched.setattr(Path, "write_text", full)
        put()
    assert list(tmp_path.glob("m*")) == []


def test_weights_are_never_overwritten(put: Put, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"trained for a week")
    with pytest.raises(UsageError, match="is there already"):
        put()
    assert (tmp_path / "mine.safetensors").read_bytes() == b"trained for a week"


def test_a_composition_is_no_part(put: Put) -> None:
    put("one")
    with pytest.raises(ModelError, match="cannot be a composition"):
        put("two", decoder="one")
