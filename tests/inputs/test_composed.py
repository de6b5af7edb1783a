"""The processor of a composition: as many slots as embeddings, in the right places."""

from __future__ import annotations

from typing import Any

import pytest
import transformers as hf

from tests import tiny
from vlmcli.errors import InputError
from vlmcli.inputs.composed import SLOT, ComposedProcessor


def processor(slots: Any = lambda crops: 3 * crops, **options: Any) -> ComposedProcessor:
    size = {"height": 32, "width": 32}
    return ComposedProcessor(tiny.tokenizer(), hf.SiglipImageProcessor(size=size), 32, slots, **options)


def test_each_placeholder_becomes_its_own_images_slots() -> None:
    made = processor(max_tiles=4)
    pictures = [tiny.picture(0, (32, 32)), tiny.picture(1, (128, 32))]
    inputs = made([f"{SLOT}one {SLOT}two"], images=[pictures])
    ids = inputs["input_ids"][0].tolist()
    assert inputs["crops"].tolist() == [1, 5]
    assert inputs["pixel_values"].shape == (6, 3, 32, 32)
    first, second = inputs["starts"].tolist()
    assert ids[first : first + 3] == [made.image_token_id] * 3
    assert ids[second : second + 15] == [made.image_token_id] * 15
    assert ids.count(made.image_token_id) == 18
    assert inputs["attention_mask"].shape == inputs["input_ids"].shape


def test_images_that_are_looked_at_take_no_room_in_the_text() -> None:
    made = processor(slots=None)
    inputs = made([f"a {SLOT}b"], images=[[tiny.picture()]])
    before, after = (made.tokenizer.encode(text, add_special_tokens=False) for text in ("a ", "b"))
    assert inputs["input_ids"][0].tolist() == [made.tokenizer.bos_token_id, *before, *after]
    assert inputs["starts"].tolist() == [1 + len(before)]
    assert made.image_token_id is None


@pytest.mark.parametrize(("text", "images"), [("none", 1), (SLOT, 0), (SLOT * 2, 1)])
def test_slots_and_images_must_match(text: str, images: int) -> None:
    with pytest.raises(InputError, match="placeholders"):
        processor()([text], images=[[tiny.picture()] * images])


def test_a_slot_of_the_decoders_own_is_used() -> None:
    tokens = tiny.tokenizer("<|pic|>")
    made = ComposedProcessor(tokens, None, 32, lambda crops: crops, slot="<|pic|>")
    assert len(made.tokenizer) == len(tiny.tokenizer("<|pic|>"))
    assert made.image_token_id == tokens.convert_tokens_to_ids("<|pic|>")
