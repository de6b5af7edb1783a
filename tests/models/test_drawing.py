"""Drawn tokens and pixels are transformers' own: Janus' ``generate``, and the recipe that Emu3's page documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig

from tests import tiny
from vlmcli.engine.draw import draw
from vlmcli.errors import ContextOverflow, InputError, UsageError
from vlmcli.models.drawing import Canvas, Drawer, drawer_of
from vlmcli.types.chat import Sampling

PROMPT = "a photo of a cat on a hill"
NEGATIVE = "lowres"  # shorter than the prompt: it is padded
SIZES = {"janus": None, "emu3": "64x48"}
GREEDY = Sampling(temperature=0)
DRAWN = Sampling(temperature=0.9, top_k=5, top_p=0.95, seed=7)


def laid_out(drawer: Drawer, guided: bool = True) -> Canvas:
    family = drawer.model.config.model_type
    return drawer.lay_out(PROMPT, NEGATIVE if family == "emu3" else "", SIZES[family], guided)


def drawn(drawer: Drawer, canvas: Canvas, samplings: list[Sampling], guidance: float) -> list[list[int]]:
    """The tokens of each image."""
    columns = [[token for token, _ in column] for column in draw(drawer, canvas, samplings, guidance)]
    return [list(row) for row in zip(*columns, strict=True)]


def options(sampling: Sampling) -> dict[str, Any]:
    """The same for ``generate``, which draws from torch's own generator."""
    torch.manual_seed(sampling.seed or 0)
    chosen = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    return {"do_sample": sampling.temperature > 0, **(chosen if sampling.temperature else {})}


def janus_generates(model: Any, drawer: Drawer, sampling: Sampling, guidance: float) -> Tensor:
    """[1, K]"""
    processor = drawer.processor
    messages = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(text=text, generation_mode="image", return_tensors="pt", add_special_tokens=False)
    settings = GenerationConfig(
        bos_token_id=drawer.vlm.tokenizer.bos_token_id,
        pad_token_id=drawer.vlm.tokenizer.pad_token_id,
        guidance_scale=guidance,
        **options(sampling),
    )
    settings.generation_kwargs = {"boi_token_id": drawer.vlm.tokenizer.boi_token_id}
    return model.generate(**inputs, generation_mode="image", generation_config=settings)


def emu3_generates(model: Any, drawer: Drawer, sampling: Sampling, guidance: float) -> Tensor:
    """[1, K + 3], as the model's page has it, but for the negative prompt: as in the makers' script it names a size."""
    processor, tokenizer = drawer.processor, drawer.vlm.tokenizer
    sized = {"return_for_image_generation": True, "ratio": "64:48", "image_area": 64 * 48, "return_tensors": "pt"}
    inputs, other = processor(text=[PROMPT], **sized), processor(text=[NEGATIVE], **sized)
    height, width = inputs.pop("image_sizes")[0]
    wrapper, eol = tokenizer.image_wrapper_token_id, tokenizer.convert_tokens_to_ids("<|extra_200|>")

    def allowed(_: int, ids: Tensor) -> list[int]:
        offset = len(ids) - int((ids == wrapper).nonzero()[0])
        ends = {1: tokenizer.eof_token_id, 2: tokenizer.eoi_token_id, 3: tokenizer.eos_token_id}
        if offset % (width + 1) == 0:
            return [eol]
        beyond = offset - (width + 1) * height
        return model.vocabulary_mapping.image_tokens if beyond < 1 else [ends[beyond]]

    output = model.generate(
        **inputs,
        max_new_tokens=(width + 1) * height + 3,
        prefix_allowed_tokens_fn=allowed,
        guidance_scale=guidance,
        negative_prompt_ids=other["input_ids"],
        negative_prompt_attention_mask=other["attention_mask"],
        **options(sampling),
    )
    return output[:, inputs["input_ids"].shape[1] :]


GENERATE: dict[str, Callable[..., Tensor]] = {"janus": janus_generates, "emu3": emu3_generates}
each_family = pytest.mark.parametrize("family", GENERATE)


@each_family
@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "sampled"])
def test_tokens_and_pixels(model: Any, family: str, sampling: Sampling) -> None:
    drawer = drawer_of(model(family))
    theirs = GENERATE[family](drawer.model, drawer, sampling, guidance=2.5)
    canvas = laid_out(drawer)
    (ours,) = drawn(drawer, canvas, [sampling], guidance=2.5)
    assert len(ours) == canvas.tokens
    assert ours == theirs[0, : canvas.tokens].tolist(), "other tokens: guidance, positions, or what a position allows"
    assert len(set(ours)) > 3, "the tiny model repeats itself: the comparison is worth little"

    if family == "janus":
        reference = drawer.model.decode_image_tokens(theirs).permute(0, 3, 1, 2)
    else:
        reference = drawer.model.decode_image_tokens(image_tokens=theirs, height=canvas.grid[0], width=canvas.grid[1])
    with torch.inference_mode():
        pixels = drawer.develop(canvas, torch.tensor([ours]))
    assert (pixels - reference).abs().max() <= 1e-4
    assert pixels.std() > 1e-2, "every pixel is the same"
    (picture,) = drawer.pictures(canvas, [ours])
    assert picture.size == canvas.size
    as_tensor = torch.tensor(bytearray(picture.tobytes())).view(*picture.size[::-1], 3).int()  # [H, W, 3]
    made = drawer.processor.postprocess(list(reference.detach()), return_tensors="pt")["pixel_values"]
    their_levels = torch.as_tensor(made).reshape(3, *picture.size[::-1]).permute(1, 2, 0).int()
    assert (as_tensor - their_levels).abs().max() <= 1, "the levels differ by more than rounding"


@each_family
def test_an_image_is_the_same_whatever_is_drawn_beside_it(model: Any, family: str) -> None:
    drawer = drawer_of(model(family))
    canvas = laid_out(drawer)
    samplings = [Sampling(temperature=1, seed=seed) for seed in (1, 2, 3)]
    together = drawn(drawer, canvas, samplings, guidance=2.0)
    assert together == [drawn(drawer, canvas, [sampling], guidance=2.0)[0] for sampling in samplings]
    assert len({tuple(row) for row in together}) == 3


@each_family
def test_without_guidance_one_prompt_is_read(model: Any, family: str) -> None:
    drawer = drawer_of(model(family))
    canvas = laid_out(drawer, guided=False)
    assert canvas.ids.shape[0] == 1 and canvas.mask.all()
    unguided = drawn(drawer, canvas, [GREEDY], guidance=1.0)
    assert drawn(drawer, laid_out(drawer), [GREEDY], guidance=1.0 + 1e-9) == unguided
    assert drawn(drawer, laid_out(drawer), [GREEDY], guidance=8.0) != unguided, "guidance changes nothing"


@each_family
def test_the_prompt_matters(model: Any, family: str) -> None:
    drawer = drawer_of(model(family))
    other = drawer.lay_out("two red circles", "", SIZES[family], True)
    assert drawn(drawer, other, [GREEDY], 3.0) != drawn(drawer, laid_out(drawer), [GREEDY], 3.0)


@each_family
def test_drawing_and_answering_share_a_model(model: Any, family: str) -> None:
    """What is drawn between two answers changes neither."""
    from vlmcli.inputs.chat import Prompt
    from vlmcli.types.chat import Message

    vlm = model(family)
    inputs = vlm.prepare(Prompt((Message("user", "What is it?", 1),), (tiny.picture(0, (40, 40)),)))
    before = vlm.prefill(inputs).logits
    drawer = drawer_of(vlm)
    first = drawn(drawer, laid_out(drawer), [DRAWN], 2.0)
    assert torch.equal(vlm.prefill(inputs).logits, before)
    assert drawn(drawer, laid_out(drawer), [DRAWN], 2.0) == first


def test_what_the_checkpoint_advises_comes_first(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = model("emu3")
    assert (drawer_of(vlm).guidance, drawer_of(vlm).top_k) == (3.0, 2048)
    monkeypatch.setattr(vlm.model, "generation_config", GenerationConfig(guidance_scale=1.5, top_k=9))
    assert (drawer_of(vlm).guidance, drawer_of(vlm).top_k) == (1.5, 9)


def test_sizes(model: Any) -> None:
    drawer = drawer_of(model("emu3"))
    for size, grid in (("64x48", (6, 8)), ("48x64", (8, 6)), ("60x60", (8, 8))):
        canvas = drawer.lay_out(PROMPT, "", size, True)
        assert canvas.grid == grid and canvas.size == (8 * grid[1], 8 * grid[0])
        assert canvas.tokens == grid[0] * (grid[1] + 1)
    for size in ("0x64", "64", "64x", "big", "2x2", "-8x8"):
        with pytest.raises(UsageError, match="size"):
            drawer.lay_out(PROMPT, "", size, True)
    for size in ("16:9", None):
        with pytest.raises(ContextOverflow, match="context is 512"):
            drawer.lay_out(PROMPT, "", size, True)
    assert drawer_of(model("janus")).lay_out(PROMPT, "", "8x8", True).size == (8, 8)


def test_what_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match=r"llava cannot draw.*") as caught:
        drawer_of(model("llava"))
    assert "janus-pro-1b" in (caught.value.hint or "")
    janus, emu3 = drawer_of(model("janus")), drawer_of(model("emu3"))
    with pytest.raises(UsageError, match="8 x 8 pixels only"):
        janus.lay_out(PROMPT, "", "16x16", True)
    with pytest.raises(UsageError, match="no negative prompt"):
        janus.lay_out(PROMPT, NEGATIVE, None, True)
    for drawer, slot in ((janus, "<begin_of_image>"), (emu3, "<|image token|>"), (emu3, "<image>")):
        with pytest.raises(InputError, match="reads as an image"):
            drawer.lay_out(f"a cat {slot}", "", SIZES[drawer.model.config.model_type], True)
