"""The layers are read as the model itself reads the last of them; the nearest words are those of a plain search."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests import tiny
from tests.families import FAMILIES, Family
from tests.models.test_parity import QUESTION, asked, case_id
from vlmcli.errors import ModelError
from vlmcli.inputs.chat import Prompt
from vlmcli.models.lens import hidden_states, lens_logits, nearest_words, projected_patches
from vlmcli.types.chat import Message

BARE = ("idefics",)  # its forward takes no text without an image
STREAMS = ("gemma3n",)  # its blocks hand on several hidden states at once
READ = [family for family in FAMILIES if family.tiny not in (*BARE, *STREAMS)]


def inputs_of(vlm: Any, images: int = 1) -> Any:
    pictures = tuple(tiny.picture(seed) for seed in range(images))
    return vlm.encode(vlm.prepare(Prompt((Message("user", QUESTION, images),), pictures)))


@pytest.mark.parametrize("family", READ, ids=case_id)
def test_the_last_layer_is_the_model_itself(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    inputs = vlm.encode(vlm.prepare(asked(family, "one image")[0]))
    positions = range(len(inputs.ids))
    ours = torch.cat(list(lens_logits(vlm, inputs, [len(vlm.blocks)], positions)))  # [T, V]
    theirs = torch.cat(list(vlm.logits_at(inputs, positions)))  # [T, V]
    assert (ours.softmax(-1) - theirs.softmax(-1)).abs().max() <= 1e-6, "what follows the last block is not all there"


@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "gemma2"])
def test_earlier_layers_are_norm_and_head_on_their_hidden_states(model: Any, family: str) -> None:
    """transformers' own hidden states, norm and head, written out."""
    vlm = model(family)
    inputs = inputs_of(vlm, int(family != "gemma2"))
    positions = [0, 3, len(inputs.ids) - 1]
    ours = torch.cat(list(lens_logits(vlm, inputs, [0, 1], positions))).unflatten(0, (2, 3))  # [layers, positions, V]
    decoder = vlm.model.get_decoder()
    kept: list[Any] = []
    handles = [block.register_forward_pre_hook(lambda _, args: kept.append(args[0])) for block in decoder.layers]
    vlm.model.base_model.rope_deltas = None
    with torch.no_grad():
        vlm.model(**inputs.tensors)
        normed = decoder.norm(torch.cat(kept)[:, positions])  # [layers, positions, D]
        theirs = vlm.model.lm_head(normed)
    for handle in handles:
        handle.remove()
    if family == "gemma2":
        cap = vlm.model.config.final_logit_softcapping
        theirs = cap * torch.tanh(theirs / cap)
    assert (ours - theirs).abs().max() <= 1e-4


def test_little_memory_takes_more_readings_and_gives_the_same(model: Any) -> None:
    vlm = model("llava")
    inputs = inputs_of(vlm)
    layers, positions = range(len(vlm.blocks) + 1), [1, 2, 5]
    readings: list[int] = []
    handle = vlm.blocks[0].register_forward_hook(lambda _, args, output: readings.append(args[0].shape[1]))
    at_once, by_one = (
        torch.cat(list(lens_logits(vlm, inputs, layers, positions, held_bytes=held))) for held in (10**6, 1)
    )
    handle.remove()
    assert torch.equal(at_once, by_one)
    assert readings.count(len(inputs.ids)) == 1 + len(layers), "layers are read in groups that fit"


def test_the_head_never_sees_more_than_a_chunk(model: Any) -> None:
    """Memory must not grow with positions x layers x vocabulary."""
    vlm = model("llava_next")
    inputs = inputs_of(vlm)
    sizes = [len(rows) for rows in lens_logits(vlm, inputs, range(3), range(len(inputs.ids)))]
    assert max(sizes) <= 64 and sum(sizes) == 3 * len(inputs.ids)


def test_deep_features_are_part_of_the_layer_that_they_enter(model: Any) -> None:
    """Qwen3-VL adds features of the encoder behind its first decoder block."""
    vlm = model("qwen3_vl")
    inputs = inputs_of(vlm)
    leaving: list[Any] = []
    handle = vlm.blocks[0].register_forward_hook(lambda _, args, output: leaving.append(output))
    states = hidden_states(vlm, inputs, [1], range(len(inputs.ids)))[0]  # [T, D]
    handle.remove()
    added = (states - leaving[0][0]).abs().amax(-1) > 0  # [T]
    assert added.tolist() == list(inputs.is_image)


@pytest.mark.parametrize("family", ["llava", "llava_next", "idefics3", "internvl", "qwen2_vl", "qwen3_vl"])
def test_projected_patches_are_what_stands_in_the_slots(model: Any, family: str) -> None:
    vlm = model(family)
    inputs = inputs_of(vlm)
    slots = [index for index, image in enumerate(vlm.shown(inputs)) if image]
    entering = hidden_states(vlm, inputs, [0], slots)[0]  # [P, D]
    patches = projected_patches(inputs)
    assert patches is not None and torch.allclose(entering, patches, atol=1e-6)


@pytest.mark.parametrize("words", [7, 100, 10**6])
def test_nearest_words_are_those_of_a_plain_search(model: Any, words: int) -> None:
    vlm = model("llava")
    patches = projected_patches(inputs_of(vlm, 2))
    assert patches is not None
    cosines, ids = nearest_words(vlm, patches, 3, words)
    matrix = vlm.model.get_input_embeddings().weight
    all_of_them = torch.nn.functional.cosine_similarity(patches[:, None], matrix[None], dim=-1)  # [P, V]
    theirs = all_of_them.topk(3, dim=-1)
    assert torch.allclose(cosines, theirs.values, atol=1e-5) and torch.equal(ids, theirs.indices)


def test_a_word_is_nearest_to_itself(model: Any) -> None:
    vlm = model("llava")
    with torch.no_grad():
        cosines, ids = nearest_words(vlm, 5 * vlm.model.get_input_embeddings().weight[[17, 300]], 1, words=64)
    assert ids[:, 0].tolist() == [17, 300] and torch.allclose(cosines, torch.ones(2, 1))


@pytest.mark.parametrize("family", BARE)
def test_a_head_that_cannot_be_reached_is_said_so(model: Any, family: str) -> None:
    vlm = model(family)
    with pytest.raises(ModelError, match="its head cannot be applied by itself"):
        list(lens_logits(vlm, inputs_of(vlm), [1], [0]))


@pytest.mark.parametrize(("family", "image_tokens"), [("mllama", 0), ("idefics", 0), ("llava", 16), ("llama", 0)])
def test_which_positions_hold_an_image(model: Any, family: str, image_tokens: int) -> None:
    """Cross-attention leaves a mark in the text where an image belongs, which is no image."""
    vlm = model(family)
    assert sum(vlm.shown(inputs_of(vlm, int(family != "llama")))) == image_tokens


def test_several_streams_are_refused(model: Any) -> None:
    vlm = model("gemma3n")
    with pytest.raises(ModelError, match="several streams"):
        list(lens_logits(vlm, inputs_of(vlm), [1], [0]))
