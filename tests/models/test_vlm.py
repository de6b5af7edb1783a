"""Prompts that cannot work fail before the model runs; nothing is dropped silently."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests import tiny
from tests.families import FAMILIES, Family
from vlmcli.errors import ContextOverflow, InputError
from vlmcli.inputs.chat import Prompt
from vlmcli.types.chat import Message


def question(images: int, text: str = "What is it?", raw: bool = False, size: tuple[int, int] = (40, 32)) -> Prompt:
    pictures = tuple(tiny.picture(seed, size) for seed in range(images))
    return Prompt((Message("user", text, images),), pictures, raw)


def test_a_prompt_that_does_not_fit_names_the_numbers(model: Any) -> None:
    with pytest.raises(ContextOverflow, match=r"takes \d{3,} tokens.*context is 512"):
        model("llava").prepare(question(1, "cat " * 600))


def test_an_empty_prompt(model: Any) -> None:
    vlm = model("paligemma")
    with pytest.raises(InputError, match="empty"):
        vlm.prepare(question(0, "", raw=True))


def test_features_and_slots_must_match(model: Any) -> None:
    """A processor that makes another number of slots than the encoder makes features is caught before the decoder."""
    vlm = model("llava")
    inputs = vlm.prepare(question(1))
    slot = inputs.is_image.index(True)
    shorter = {
        **inputs.tensors,
        "input_ids": torch.cat([inputs.tensors["input_ids"][:, :slot], inputs.tensors["input_ids"][:, slot + 1 :]], 1),
    }
    broken = type(inputs)(inputs.ids[1:], inputs.is_image[:slot] + inputs.is_image[slot + 1 :], inputs.images, shorter)
    with pytest.raises(InputError, match=r"15 image slots.*16 features"):
        vlm.prefill(broken)


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "internvl", "idefics3"])
def test_a_raw_prompt_needs_a_slot_for_each_image(model: Any, family: str) -> None:
    slot = model(family).processor.image_token
    for text, images in (("What is it?", 1), (f"{slot}{slot} What?", 1), (f"{slot} What?", 2), (f"{slot} What?", 0)):
        with pytest.raises(InputError):
            model(family).prepare(question(images, text, raw=True))
    assert any(model(family).prepare(question(1, f"{slot} What?", raw=True)).is_image)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.method != "none"], ids=lambda family: family.tiny)
def test_slots_are_counted_for_each_image(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    one = vlm.prepare(question(1))
    assert one.images[0].tokens == sum(one.is_image)
    assert one.images[0].tokens > 0 or family.tiny == "git"  # its features stand before the text
    if "two images" in family.refused:
        return
    inputs = vlm.prepare(question(2))
    assert sum(shape.tokens for shape in inputs.images) == sum(inputs.is_image) > 0
    assert inputs.images[0].tokens == inputs.images[1].tokens


def test_images_of_different_sizes_have_their_own_counts(model: Any) -> None:
    """In an any-resolution family the larger image has more slots, and ``resized`` is what became of it."""
    pictures = (tiny.picture(0, (28, 28)), tiny.picture(1, (112, 56)))
    inputs = model("qwen2_vl").prepare(Prompt((Message("user", "What?", 2),), pictures))
    assert [(shape.resized, shape.tokens) for shape in inputs.images] == [((28, 28), 1), ((112, 56), 8)]


def test_the_resized_size_is_one_picture_or_none(model: Any) -> None:
    assert model("llava").prepare(question(2)).images[1].resized == (32, 32)
    assert model("idefics3").prepare(question(1)).images[0].resized is None


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "internvl", "idefics3"])
def test_floating_inputs_get_the_dtype_of_the_model(folder_of: Any, family: str) -> None:
    from vlmcli.models.load import load
    from vlmcli.weights.resolve import Checkpoint

    vlm: Any = load(Checkpoint(folder_of(family), family, None, None), device="cpu", dtype="bfloat16")
    inputs = vlm.prepare(question(1))
    assert {t.dtype for t in inputs.tensors.values() if t.is_floating_point()} == {torch.bfloat16}
    assert torch.isfinite(vlm.prefill(inputs).logits).all()


def test_inference_mode_does_not_leak(model: Any) -> None:
    vlm = model("llava")
    inputs = vlm.prepare(question(1))
    vlm.prefill(inputs)
    chunks = vlm.logits_at(inputs, range(len(inputs.ids)), chunk=4)
    next(chunks)
    assert not torch.is_inference_mode_enabled()
    chunks.close()
    assert not vlm.model.get_output_embeddings()._forward_pre_hooks, "a hook stayed on the head"
