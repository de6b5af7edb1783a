"""A trace tells the stages of the diagram in their order, and says of each what can be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.models.test_parity import SEEING, case_id
from tests.tasks.test_score import greedy, request
from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.image import load_image
from vlmcli.tasks.trace import trace
from vlmcli.types.trace import Run, Stage, Trace


def stage(result: Trace, name: str) -> Stage:
    return next(stage for stage in result.stages if stage.name == name)


def test_the_stages_in_order(model: Any) -> None:
    result = trace(model("llava"), request(), max_tokens=3).trace
    names = [stage.name for stage in result.stages]
    assert names == ["decode", "resize", "patchify", "encode", "project", "fuse", "prefill", "step", "step"]
    shapes = [stage.figures.shapes[0] for stage in result.stages if stage.figures]
    assert shapes[:6] == [(32, 40, 3), (1, 3, 32, 32), (1, 32, 4, 4), (1, 16, 32), (16, 32), (1, 32, 32)]
    assert all(stage.figures and stage.figures.nans == 0 for stage in result.stages)
    assert result.sequence == (Run("text", 0, 4), Run("image", 4, 16), Run("text", 20, 12)) and result.width == 32
    assert list(result.timings_ms) == ["load", "prepare", "prefill", "decode", "total"]


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "mllama"])
def test_the_answer_is_the_greedy_one(model: Any, family: str) -> None:
    vlm, asked = model(family), request()
    result = trace(vlm, asked, max_tokens=5).trace
    said = [stage.token for stage in result.stages if stage.name in ("prefill", "step")]
    assert said == [token.token for token in greedy(vlm, asked, 5).tokens]
    assert result.usage.completion_tokens == len(said)


@pytest.mark.parametrize("family", SEEING, ids=case_id)
def test_what_cannot_be_seen_says_so(model: Any, family: Any) -> None:
    result = trace(model(family.tiny), request(), max_tokens=1).trace
    for one in result.stages:
        assert (one.figures is None or one.name == "decode") == (one.ms is None)  # it was decoded before
        assert one.figures is not None or "cannot be seen" in one.note or "this model has no" in one.note
    in_text = any(run.kind == "image" for run in result.sequence)
    assert in_text == (family.method == "A")
    assert in_text or "cross-attention" in stage(result, "fuse").note


def test_a_text_has_no_stages_of_images(model: Any) -> None:
    result = trace(model("llama"), request(0), max_tokens=1).trace
    assert [stage.name for stage in result.stages] == ["fuse", "prefill"]
    assert {run.kind for run in result.sequence} == {"text"}


def test_the_encoder_runs_though_the_features_are_known(checkpoint: Any) -> None:
    vlm = load(checkpoint("llava").folder, device="cpu")
    assert isinstance(vlm, VlmModel) and vlm.vlm.features is not None
    picture = request().images[0].pixels
    list(vlm.ask(picture, "What is in the image?"))
    assert stage(vlm.trace(picture, "What is in the image?", max_tokens=1), "encode").figures is not None
    assert vlm.vlm.features is not None


def test_nan_is_counted_and_ends_the_answer(checkpoint: Any) -> None:
    vlm = load(checkpoint("llama").folder, device="cpu")
    assert isinstance(vlm, VlmModel)
    with torch.no_grad():
        vlm.vlm.model.lm_head.weight[7] = torch.nan
    result = vlm.trace(None, "Hello")
    prefill = stage(result, "prefill")
    assert prefill.figures and prefill.figures.nans == 1 and prefill.token is None
    assert result.usage.completion_tokens == 0 and result.stages[-1] is prefill


def test_a_dump_holds_the_stages(checkpoint: Any, tmp_path: Path) -> None:
    vlm = load(checkpoint("qwen2_vl").folder, device="cpu")
    assert isinstance(vlm, VlmModel)
    pictures = [image.pixels for image in request(2).images]
    file = tmp_path / "stages.safetensors"
    result = vlm.trace(pictures, "What is in the image?", max_tokens=3, dump=file)
    tensors = load_file(file)
    assert sorted(tensors) == sorted(
        ["decode.0", "decode.1", "resize", "patchify", "encode", "project", "fuse", "prefill", "step.1", "step.2"]
    )
    assert torch.equal(
        tensors["decode.1"], torch.frombuffer(bytearray(pictures[1].tobytes()), dtype=torch.uint8).view(32, 40, 3)
    )
    fused = stage(result, "fuse").figures
    assert fused is not None and tensors["fuse"].shape == fused.shapes[0]
    assert float(tensors["fuse"].mean()) == pytest.approx(fused.mean, abs=1e-5)


def test_a_dump_never_takes_the_place_of_another_file(checkpoint: Any, tmp_path: Path) -> None:
    vlm = load(checkpoint("llava").folder, device="cpu")
    assert isinstance(vlm, VlmModel)
    file = tmp_path / "stages.safetensors"
    file.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        vlm.trace(None, "Hello", dump=file)
    assert file.read_text() == "mine"
    vlm.trace(None, "Hello", max_tokens=1, dump=file, force=True)
    assert "fuse" in load_file(file)
    with pytest.raises(UsageError, match="safetensors"):
        vlm.trace(None, "Hello", dump=tmp_path / "stages.png")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NEEDS A DEVICE THAT IS ALWAYS FULL: /dev/full of Linux")
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmcli.inputs import outputs
    from vlmcli.tasks.trace import write_tensors

    monkeypatch.setattr(outputs.os, "fsync", lambda _: Path("/dev/full").write_bytes(b"x"))
    with pytest.raises(InputError, match="no space left"):
        write_tensors(tmp_path / "stages.safetensors", {"fuse": torch.ones(3)})
    assert list(tmp_path.iterdir()) == []


def test_no_tokens_are_no_answer(model: Any) -> None:
    with pytest.raises(UsageError, match="max_tokens"):
        trace(model("llama"), request(0), max_tokens=0)


def test_decoding_the_file_is_timed(checkpoint: Any, tmp_path: Path) -> None:
    vlm = load(checkpoint("llava").folder, device="cpu")
    assert isinstance(vlm, VlmModel)
    request().images[0].pixels.save(tmp_path / "a.png")
    decode = stage(vlm.trace(tmp_path / "a.png", "What is it?", max_tokens=1), "decode")
    assert decode.ms and decode.peak_bytes is None
    loaded = load_image(tmp_path / "a.png")
    assert stage(vlm.trace(loaded, "What is it?", max_tokens=1), "decode").ms is None
