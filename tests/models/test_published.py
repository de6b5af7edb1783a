"""Layouts of other publishers give what the InternVL model gives that they were made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tiny
from tests.tiny.published import reference
from vlmcli.errors import ModelError
from vlmcli.inputs.chat import Prompt
from vlmcli.models.load import load
from vlmcli.types.chat import Message
from vlmcli.weights.resolve import Checkpoint

LAYOUTS = ("internvl_chat", "nvlm_d")


def question(size: tuple[int, int] = (70, 50)) -> Prompt:
    return Prompt((Message("user", "What is it?", 1),), (tiny.picture(0, size),))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_logits_are_those_of_the_original(model: Any, checkpoint: Any, layout: str) -> None:
    vlm, original = model(layout), reference(checkpoint(layout).folder)
    inputs = vlm.prepare(question())
    with torch.no_grad():
        theirs = original(**inputs.tensors).logits[0].softmax(-1)  # [T, V]
    ours = torch.cat(list(vlm.logits_at(inputs, range(len(inputs.ids))))).softmax(-1)  # [T, V]
    assert (ours - theirs).abs().max() <= 1e-6


def test_a_tag_stands_before_each_tile(model: Any) -> None:
    """Two by two tiles and the thumbnail; a picture of one tile is its own thumbnail."""
    vlm, slots = model("nvlm_d"), "<|vision_pad|>" * 4
    one, four = (vlm.tokenizer.decode(vlm.prepare(question(size)).ids) for size in ((32, 32), (64, 64)))
    assert f"user\n<Image><tile_global_thumbnail>{slots}</Image>\nWhat" in one
    tags = [f"<tile_{i}>" for i in range(1, 5)] + ["<tile_global_thumbnail>"]
    assert "<Image>" + "".join(tag + slots for tag in tags) + "</Image>" in four


def test_the_pixels_are_those_of_internvl(model: Any) -> None:
    vlm = model("nvlm_d")
    processor = vlm.processor.image_processor
    assert (processor.min_patches, processor.max_patches, processor.size.height) == (1, 4, 32)
    assert processor.crop_to_patches and list(processor.image_mean) == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(ps_version="v1"), "pixel shuffle"),
        (lambda c: c["llm_config"].update(architectures=["InternLM9"], model_type="internlm9"), "internlm9"),
        (lambda c: c.pop("downsample_ratio"), "downsample_ratio"),
        (
            lambda c: c["vision_config"].update(hidden_size=64),
            r"layer_norm\.bias is 128, and config\.json asks for 256",
        ),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_does_not_fit_is_one_line(folder_of: Any, layout: str, change: Callable[[Any], Any], says: str) -> None:
    folder: Path = folder_of(layout)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=says) as raised:
        load(Checkpoint(folder, layout, None, None), device="cpu")
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_tensor_is_named(folder_of: Any, layout: str) -> None:
    folder: Path = folder_of(layout)
    weights = load_file(folder / "model.safetensors")
    del weights["mlp1.3.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"multi_modal_projector\.linear_2\.weight"):
        load(Checkpoint(folder, layout, None, None), device="cpu")
