"""The same tokens and the same probabilities as transformers' own ``generate`` and ``forward``, family by family."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests import tiny
from vlmcli.engine.decode import decode
from vlmcli.inputs.chat import Prompt
from vlmcli.models.vlm import Vlm
from vlmcli.types import Message, Sampling

TOLERANCE = 1e-5  # of probabilities, in float32
NEW_TOKENS = 16
WITH_IMAGES = [family for family in tiny.GENERATORS if family != "llama"]
CASES = [("llama", 0), *((family, images) for family in WITH_IMAGES for images in (0, 1, 2))]


def prompt(vlm: Vlm, images: int, first_seed: int = 0) -> Prompt:
    """A question about ``images`` pictures; raw where the family has no chat template."""
    raw = not vlm.has_template
    slots = "<image>" * images if raw else ""
    # One square and one not: they differ in tiles and slots, so that masks and counts matter.
    pictures = tuple(tiny.picture(first_seed + i, ((40, 40), (70, 50))[i]) for i in range(images))
    return Prompt((Message("user", f"{slots}What is in the image?", images),), pictures, raw)


def reference_inputs(vlm: Vlm, asked: Prompt) -> dict[str, Any]:
    """The inputs as transformers alone makes them, through its own chat template call where there is one."""
    if asked.raw:
        if not asked.images:
            return dict(vlm.tokenizer([asked.messages[0].text], return_tensors="pt"))
        inputs = dict(vlm.processor(text=[asked.messages[0].text], images=[list(asked.images)], return_tensors="pt"))
        inputs.pop("labels", None)
        return inputs
    text = asked.messages[0].text
    parts = [*({"type": "image", "image": image} for image in asked.images), {"type": "text", "text": text}]
    content: Any = parts if vlm.sees else text
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    return dict(vlm.processor.apply_chat_template([{"role": "user", "content": content}], **options))


@torch.no_grad()
def reference_logits(vlm: Vlm, inputs: dict[str, Any]) -> torch.Tensor:
    """transformers' own forward over the whole prompt, [T, V]."""
    vlm.model.base_model.rope_deltas = None
    return vlm.model(**inputs).logits[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("family", "images"), CASES)
def test_greedy_tokens_are_those_of_generate(model: Any, family: str, images: int) -> None:
    vlm = model(family)
    asked = prompt(vlm, images)
    inputs = vlm.prepare(asked)
    ours = list(decode(vlm, inputs, Sampling(max_tokens=NEW_TOKENS)))
    reference = reference_inputs(vlm, asked)
    assert list(inputs.ids) == reference["input_ids"][0].tolist(), "the prompt differs: chat template or special tokens"
    with torch.no_grad():
        theirs = vlm.model.generate(
            **reference,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            output_logits=True,
            return_dict_in_generate=True,
        )
    assert len(ours) >= 12, "the tiny model stops early: another seed makes the comparison worth something"
    tokens = theirs.sequences[0, len(inputs.ids) :].tolist()
    assert [event.id for event in ours] == tokens, "cached decoding differs: positions, masks, or token types left out"
    for event, logits in zip(ours, theirs.logits, strict=True):
        difference = math.exp(event.logprob) - float(logits[0].softmax(-1)[event.id])
        assert abs(difference) <= TOLERANCE, f"the same tokens, but other probabilities from token {event.index} on"


@pytest.mark.parametrize(("family", "images"), CASES)
def test_probabilities_are_those_of_forward(model: Any, family: str, images: int) -> None:
    vlm = model(family)
    asked = prompt(vlm, images)
    inputs = vlm.prepare(asked)
    theirs = reference_logits(vlm, reference_inputs(vlm, asked)).softmax(-1)  # [T, V]
    ours = torch.cat(list(vlm.logits_at(inputs, range(len(inputs.ids)), chunk=7))).softmax(-1)  # [T, V]
    difference = (ours - theirs).abs().max(dim=-1).values
    assert difference.max() <= TOLERANCE, f"the head in chunks differs at position {int(difference.argmax())}"
    first = vlm.prefill(inputs).logits.softmax(-1)  # [V]
    assert (first - theirs[-1]).abs().max() <= TOLERANCE, "prefill differs: image features, token types or masks"


@pytest.mark.parametrize("family", WITH_IMAGES)
def test_the_model_sees_its_image(model: Any, family: str) -> None:
    vlm = model(family)
    one, other = (vlm.prefill(vlm.prepare(prompt(vlm, 1, seed))).logits for seed in (1, 2))
    assert (one - other).abs().max() > 1e-3, "two images, one answer: the features never reach the decoder"


@pytest.mark.parametrize("family", WITH_IMAGES)
def test_the_order_of_images_matters(model: Any, family: str) -> None:
    vlm = model(family)
    asked = prompt(vlm, 2)
    turned = Prompt(asked.messages, asked.images[::-1], asked.raw)
    one, other = (vlm.prefill(vlm.prepare(each)).logits for each in (asked, turned))
    assert (one - other).abs().max() > 1e-3, "the images are swapped and nothing changes: is one of them dropped?"


@pytest.mark.parametrize("family", list(tiny.GENERATORS))
def test_two_conversations_can_take_turns(model: Any, family: str) -> None:
    """The rope offsets of Qwen-VL live on the model object: they must travel with the conversation."""
    vlm = model(family)
    images = 0 if family == "llama" else 2
    prompts = [prompt(vlm, images), prompt(vlm, min(images, 1), 5)]
    alone = [[event.id for event in decode(vlm, vlm.prepare(p), Sampling(max_tokens=8))] for p in prompts]
    streams = [decode(vlm, vlm.prepare(p), Sampling(max_tokens=8)) for p in prompts]
    together: list[list[int]] = [[], []]
    for _ in range(8):
        for said, stream in zip(together, streams, strict=True):
            said.extend(event.id for event in [next(stream, None)] if event)
    assert together == alone, "a conversation depends on what another one left on the model object"


@pytest.mark.parametrize("family", [family for family in tiny.GENERATORS if family != "paligemma"])
def test_cached_forward_is_full_forward(model: Any, family: str) -> None:
    """Reading a text in one go, or its last tokens one by one, ends in the same distribution.

    Not for PaliGemma: it reads a prompt in both directions, so that its answer is not a longer prompt.
    """
    vlm = model(family)
    inputs = vlm.prepare(Prompt((Message("user", "a photo of a cat on a hill"),), raw=True))
    full = torch.cat(list(vlm.logits_at(inputs, range(len(inputs.ids))))).softmax(-1)  # [T, V]
    short = vlm.prepare(Prompt((Message("user", "a photo"),), raw=True))
    assert inputs.ids[: len(short.ids)] == short.ids
    state = vlm.prefill(short)
    for index, token_id in enumerate(inputs.ids[len(short.ids) :], start=len(short.ids)):
        stepped = vlm.step(state, token_id).softmax(-1)
        assert (stepped - full[index]).abs().max() <= TOLERANCE, f"the cache is off at position {index}"


@pytest.mark.parametrize(
    ("config", "options"),
    [("Gemma2Config", {"final_logit_softcapping": 0.5, "head_dim": 8}), ("CohereConfig", {"logit_scale": 0.06})],
)
def test_what_a_family_does_behind_its_head_is_kept(model: Any, tmp_path: Any, config: str, options: Any) -> None:
    """Soft caps and scales come after the head, where applying it in chunks could lose them."""
    import transformers as hf

    from vlmcli.models.load import load
    from vlmcli.weights.resolve import Checkpoint

    tokens = tiny.tokenizer()
    made = getattr(hf, config)(**tiny.DECODER, **options, **tiny.token_ids(tokens))
    folder = tiny.save(tmp_path, hf.AutoModelForCausalLM.from_config(made), tokens)
    vlm = load(Checkpoint(folder, "tiny", None, None), device="cpu")
    assert isinstance(vlm, Vlm)
    inputs = vlm.prepare(Prompt((Message("user", "a photo of a cat"),), raw=True))
    ours = torch.cat(list(vlm.logits_at(inputs, range(len(inputs.ids)), chunk=3))).softmax(-1)
    theirs = reference_logits(vlm, {"input_ids": torch.tensor([inputs.ids])}).softmax(-1)
    assert (ours - theirs).abs().max() <= TOLERANCE


def test_the_head_never_sees_more_than_a_chunk(model: Any) -> None:
    """Memory must not grow with positions x vocabulary."""
    vlm = model("llava")
    inputs = vlm.prepare(prompt(vlm, 2))
    widths: list[int] = []
    head = vlm.model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _, args, output: widths.append(output.shape[1]))
    try:
        list(vlm.logits_at(inputs, range(len(inputs.ids)), chunk=4))
    finally:
        handle.remove()
    assert max(widths) <= 4 and sum(widths) >= len(inputs.ids)
