"""The same tokens and the same probabilities as transformers' own ``generate`` and ``forward``, family by family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tiny
from tests.families import FAMILIES, SHAPES, Family, Shape
from vlmcli.engine.decode import decode
from vlmcli.errors import InputError
from vlmcli.inputs.chat import Prompt
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message, Sampling

TOLERANCE = 1e-5  # of probabilities, in float32
NEW_TOKENS = 12
SIZES = ((40, 40), (70, 50))  # one square and one not: they differ in tiles and slots, so that masks and counts matter
QUESTION = "What is in the image?"
CASES = [(family, shape) for family in FAMILIES for shape in SHAPES if family.tries(shape) and shape != "padded batch"]
SEEING = [family for family in FAMILIES if family.method != "none"]


def case_id(value: Any) -> str:
    return value.tiny if isinstance(value, Family) else str(value).replace(" ", "-")


def conversation(*messages: Message, first_seed: int = 0) -> Prompt:
    """Messages and as many pictures as they show."""
    count = sum(message.images for message in messages)
    return Prompt(messages, tuple(tiny.picture(first_seed + i, SIZES[(first_seed + i) % 2]) for i in range(count)))


def asked(family: Family, shape: Shape, first_seed: int = 0) -> tuple[Prompt, ...]:
    """The prompts of a shape: one, or those of a batch, which differ in length and in the size of the image."""
    eyes = int(family.method != "none")
    question = Message("user", QUESTION, eyes)
    match shape:
        case "one image":
            return (conversation(question, first_seed=first_seed),)
        case "two images":
            return (conversation(Message("user", QUESTION, 2), first_seed=first_seed),)
        case "second turn":
            turns = (question, Message("assistant", "two circles"), Message("user", "Count the dogs."))
            return (conversation(*turns, first_seed=first_seed),)
        case "no image":
            return (conversation(Message("user", QUESTION), first_seed=first_seed),)
        case "padded batch":
            other = Message("user", "Describe the lazy dog on the hill, please!", eyes)
            return (conversation(question), conversation(other, first_seed=1))


def reference_inputs(vlm: Vlm, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """The inputs as transformers alone makes them, through its own chat template call."""
    conversations = [_as_transformers_reads_it(vlm, prompt) for prompt in prompts]
    options: dict[str, Any] = {"padding": True, "padding_side": "left"} if len(prompts) > 1 else {}
    template = {"chat_template": vlm.template or vlm.tokenizer.chat_template, "add_generation_prompt": True}
    if vlm.model.config.model_type in ("paligemma", "got_ocr2") and not any(prompt.images for prompt in prompts):
        # Their processors insist on an image; the models do not.
        return dict(vlm.tokenizer(vlm.processor.apply_chat_template(conversations, **template), return_tensors="pt"))
    if vlm.model.config.model_type == "got_ocr2":  # its processor takes a flat list of images
        texts = vlm.processor.apply_chat_template(conversations, **template)
        pictures = [picture for prompt in prompts for picture in prompt.images]
        return dict(vlm.processor(text=texts, images=pictures, return_tensors="pt", **options))
    inputs = vlm.processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        **template,
        **({"processor_kwargs": options} if vlm.sees else options),
    )
    return {name: _in_float32(value) for name, value in inputs.items() if name != "labels"}


def _in_float32(value: Any) -> Any:
    """Llama 4's processor makes bfloat16, whatever the model's dtype."""
    return value.float() if torch.is_tensor(value) and value.is_floating_point() else value


def _as_transformers_reads_it(vlm: Vlm, prompt: Prompt) -> list[dict[str, Any]]:
    pictures = iter(prompt.images)
    turns = []
    for message in prompt.messages:
        parts: list[dict[str, Any]] = [{"type": "image", "image": next(pictures)} for _ in range(message.images)]
        parts.append({"type": "text", "text": message.text})
        turns.append({"role": message.role, "content": parts if vlm.sees else message.text})
    return turns


def reference_model(vlm: Vlm, family: Family, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """transformers' model and its arguments; for a prompt without an image the part of it that takes one."""
    vlm.model.base_model.rope_deltas = None
    if not family.reader or any("pixel" in name for name in inputs):
        return vlm.model, inputs
    return vlm.model.get_submodule(family.reader), {name: inputs[name] for name in ("input_ids", "attention_mask")}


@torch.no_grad()
def generated(vlm: Vlm, family: Family, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """transformers' own greedy tokens [B, N] and the probabilities [B, N, V] before it suppresses the end."""
    model, arguments = reference_model(vlm, family, inputs)
    output = model.generate(
        **arguments,
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return output.sequences[:, -NEW_TOKENS:], torch.stack(output.logits, dim=1).softmax(-1)


def continued(vlm: Vlm, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
    """Our greedy tokens [B, N] and probabilities [B, N, V], the end suppressed in the same way."""
    state = vlm.prefill_batch(vlm.encode(vlm.prepare_batch(prompts)))
    tokens, probabilities = [], []
    for _ in range(NEW_TOKENS):
        probabilities.append(state.logits.softmax(-1))
        logits = state.logits.clone()
        logits[:, list(vlm.eos_ids)] = -torch.inf
        tokens.append(logits.argmax(-1))
        vlm.step_batch(state, tokens[-1].tolist())
    return torch.stack(tokens, dim=1), torch.stack(probabilities, dim=1)


def agree(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    assert ours[0].tolist() == theirs[0].tolist(), "other tokens: positions, masks, or token types left out"
    assert ours[0].unique().numel() > 1, "the tiny model repeats one token: the comparison is worth little"
    difference = (ours[1] - theirs[1]).abs().amax(dim=(0, 2))  # [N]
    assert difference.max() <= TOLERANCE, f"the same tokens, but other probabilities: {difference.tolist()}"


@pytest.mark.parametrize(("family", "shape"), CASES, ids=case_id)
def test_generate_and_forward(model: Any, family: Family, shape: Shape) -> None:
    vlm = model(family.tiny)
    assert vlm.model.config.model_type == family.type
    (prompt,) = asked(family, shape)
    if shape in family.refused:
        with pytest.raises(InputError, match=family.refused[shape]):
            vlm.prepare(prompt)
        return
    inputs = vlm.prepare(prompt)
    reference = reference_inputs(vlm, [prompt])
    assert list(inputs.ids) == reference["input_ids"][0].tolist(), "the prompt differs: chat template or special tokens"
    agree(continued(vlm, [prompt]), generated(vlm, family, reference))
    with torch.no_grad():
        reader, arguments = reference_model(vlm, family, reference)
        theirs = reader(**arguments).logits[0, -len(inputs.ids) :].softmax(-1)  # [T, V]
    ours = torch.cat(list(vlm.logits_at(inputs, range(len(inputs.ids)), chunk=7))).softmax(-1)  # [T, V]
    difference = (ours - theirs).abs().amax(dim=-1)
    assert difference.max() <= TOLERANCE, f"the head in chunks differs at position {int(difference.argmax())}"


@pytest.mark.parametrize("family", FAMILIES, ids=case_id)
def test_a_padded_batch(model: Any, family: Family) -> None:
    """What transformers generates for the batch, and what each prompt gives by itself."""
    vlm = model(family.tiny)
    prompts = asked(family, "padded batch")
    batch = vlm.prepare_batch(prompts)
    reference = reference_inputs(vlm, prompts)
    assert batch.tensors["input_ids"].tolist() == reference["input_ids"].tolist()
    assert not reference["attention_mask"].all(), "both prompts have one length: nothing is padded"
    together = continued(vlm, prompts)
    agree(together, generated(vlm, family, reference))
    for i, prompt in enumerate(prompts):
        alone = vlm.prepare(prompt)
        assert batch.rows[i].ids == alone.ids and batch.rows[i].is_image == alone.is_image
        assert [image.tokens for image in batch.rows[i].images] == [image.tokens for image in alone.images]
        if family.alone:
            agree((together[0][i : i + 1], together[1][i : i + 1]), continued(vlm, [prompt]))


@pytest.mark.parametrize("family", FAMILIES, ids=case_id)
def test_the_engine_says_the_same(model: Any, family: Family) -> None:
    """The loop that the commands run, up to the end of the answer."""
    vlm = model(family.tiny)
    (prompt,) = asked(family, "one image")
    tokens = continued(vlm, [prompt])[0][0].tolist()
    events = list(decode(vlm, vlm.prepare(prompt), Sampling(max_tokens=NEW_TOKENS)))
    said = [event.id for event in events]
    if said[-1] in vlm.eos_ids:
        said = said[:-1]
    assert said == tokens[: len(said)]


@pytest.mark.parametrize("family", SEEING, ids=case_id)
def test_the_image_changes_the_answer(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    answers = [continued(vlm, asked(family, "one image", seed)) for seed in (2, 4, 6, 8)]
    first = answers[0][1][0, 0]  # [V]
    assert all((first - other[1][0, 0]).abs().max() > 1e-3 for other in answers[1:]), "the features reach no decoder"
    assert len({tuple(tokens[0].tolist()) for tokens, _ in answers}) > 1, "other images, and never another answer"


@pytest.mark.parametrize("family", [f for f in SEEING if "two images" not in f.refused], ids=case_id)
def test_the_order_of_images_matters(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    (prompt,) = asked(family, "two images")
    turned = Prompt(prompt.messages, prompt.images[::-1])
    one, other = (vlm.prefill(vlm.prepare(each)).logits for each in (prompt, turned))
    assert (one - other).abs().max() > 1e-3, "the images are swapped and nothing changes: is one of them dropped?"


@pytest.mark.parametrize("family", FAMILIES, ids=case_id)
def test_two_conversations_can_take_turns(model: Any, family: Family) -> None:
    """What a family keeps on the model object, such as rope offsets, must travel with the conversation."""
    vlm = model(family.tiny)
    wide: Shape = "one image" if "two images" in family.refused else "two images"
    prompts = [asked(family, wide if family.method != "none" else "no image")[0], asked(family, "one image", 5)[0]]
    alone = [[event.id for event in decode(vlm, vlm.prepare(p), Sampling(max_tokens=8))] for p in prompts]
    streams = [decode(vlm, vlm.prepare(p), Sampling(max_tokens=8)) for p in prompts]
    together: list[list[int]] = [[], []]
    for _ in range(8):
        for said, stream in zip(together, streams, strict=True):
            said.extend(event.id for event in [next(stream, None)] if event)
    assert together == alone, "a conversation depends on what another one left on the model object"


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.tiny not in ("paligemma", "chameleon")], ids=case_id)
def test_cached_forward_is_full_forward(model: Any, family: Family) -> None:
    """Reading a text in one go, or its last tokens one by one, ends in the same distribution.

    Not for PaliGemma, which reads a prompt in both directions, nor for Chameleon, whose processor closes every prompt:
    their answers are not longer prompts.
    """
    vlm = model(family.tiny)
    inputs = vlm.prepare(Prompt((Message("user", "a photo of a cat on a hill"),), raw=True))
    full = torch.cat(list(vlm.logits_at(inputs, range(len(inputs.ids))))).softmax(-1)  # [T, V]
    short = vlm.prepare(Prompt((Message("user", "a photo"),), raw=True))
    assert inputs.ids[: len(short.ids)] == short.ids
    state = vlm.prefill(short)
    # Qwen3.5 reads a prompt by its recurrence's chunked form and a token by the plain one: they round differently.
    tolerance = 5 * TOLERANCE if family.tiny == "qwen3_5" else TOLERANCE
    for index, token_id in enumerate(inputs.ids[len(short.ids) :], start=len(short.ids)):
        stepped = vlm.step(state, token_id).softmax(-1)
        assert (stepped - full[index]).abs().max() <= tolerance, f"the cache is off at position {index}"


def test_raw_prompts_and_others_do_not_mix(model: Any) -> None:
    prompts = [Prompt((Message("user", "hi"),), raw=raw) for raw in (True, False)]
    with pytest.raises(InputError, match="cannot share a batch"):
        model("llama").prepare_batch(prompts)


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
    with torch.no_grad():
        theirs = vlm.model(input_ids=torch.tensor([inputs.ids])).logits[0].softmax(-1)
    assert (ours - theirs).abs().max() <= TOLERANCE


def test_the_head_never_sees_more_than_a_chunk(model: Any) -> None:
    """Memory must not grow with positions x vocabulary."""
    vlm = model("llava")
    inputs = vlm.prepare(conversation(Message("user", QUESTION, 2)))
    widths: list[int] = []
    head = vlm.model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _, args, output: widths.append(output.shape[1]))
    try:
        list(vlm.logits_at(inputs, range(len(inputs.ids)), chunk=4))
    finally:
        handle.remove()
    assert max(widths) <= 4 and sum(widths) >= len(inputs.ids)
