"""Image slots lie where ``places`` says: a spot painted into the picture changes these slots and no others.

The encoders' attention, which would carry the change to every patch, is switched off for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests import tiny
from tests.models.test_composition import Compose, compose
from vlmcli.errors import UsageError
from vlmcli.inputs.chat import Prompt
from vlmcli.models.embeddings import replaced, text_decoder
from vlmcli.models.places import memory_places, overlap, places
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message

__all__ = ["compose"]  # a fixture

SQUARES = ["llava", "paligemma", "gemma3", "janus", "deepseek_vl", "vipllava", "llava_moe", "ovis2"]
TILES = ["llava_next", "llava_onevision", "internvl", "idefics3", "smolvlm", "aya_vision", "cohere2_vision", "llama4"]
TILES += ["lfm2_vl", "nvlm_d", "molmo2"]
NATIVE = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v", "pixtral", "mistral3", "fuyu"]
NOWHERE = ["mllama", "idefics", "aria", "idefics2", "blip2", "kosmos2", "git", "emu3", "chameleon"]

SPOTS = [(0.1, 0.15), (0.5, 0.5), (0.8, 0.2), (0.3, 0.85)]
SPOT = 0.08  # of the picture
BLUR = 0.08  # of the picture: so far a spot spreads when it is resized


def prompt_of(*images: Image.Image) -> Prompt:
    return Prompt((Message("user", "What is it?", len(images)),), images)


def spotted(image: Image.Image, x: float, y: float) -> Image.Image:
    """The same with a dark or light spot around a place."""
    made, dark = image.copy(), sum(image.getpixel((int(x * image.width), int(y * image.height)))) > 380  # type: ignore
    half = (SPOT * image.width / 2, SPOT * image.height / 2)
    middle = (x * image.width, y * image.height)
    box = tuple(round(m + s * h) for s in (-1, 1) for m, h in zip(middle, half, strict=True))
    made.paste((0, 0, 0) if dark else (255, 255, 255), box)  # type: ignore[arg-type]
    return made


@contextmanager
def every_patch_for_itself(vlm: Vlm) -> Iterator[None]:
    """No attention in the encoder; Molmo's pooling is attention too, over the patches of a slot."""
    own = set(text_decoder(vlm).modules())

    def nothing(_: Any, __: Any, output: Any) -> Any:
        return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

    mixing = [
        module
        for name, module in vlm.model.named_modules()
        if type(module).__name__.endswith("Attention") and module not in own and "pool" not in name
    ]
    handles = [module.register_forward_hook(nothing) for module in mixing]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def embeddings(vlm: Vlm, prompt: Prompt, positions: tuple[int, ...]) -> Tensor:
    """What reaches the decoder at these positions [n, D]."""
    caught: list[Tensor] = []

    def look(levels: list[Tensor]) -> list[Tensor]:
        caught.append(levels[0][0].clone())
        return levels

    inputs = vlm.prepare(prompt)
    with every_patch_for_itself(vlm), replaced(vlm, inputs, positions, look):
        vlm.prefill(inputs)
    return caught[0]


def looked_at(vlm: Vlm, prompt: Prompt) -> Tensor:
    """What cross-attention can look at [M, D]."""
    caught: list[Tensor] = []

    def look(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
        caught.append(kwargs["cross_attention_states"].flatten(0, 1))

    handle = text_decoder(vlm).register_forward_pre_hook(look, with_kwargs=True)
    with every_patch_for_itself(vlm):
        vlm.prefill(vlm.prepare(prompt))
    handle.remove()
    return caught[0]


def check(vlm: Vlm, images: list[Image.Image], of: int) -> None:
    prompt = prompt_of(*images)
    found = places(vlm, prompt, vlm.prepare(prompt), of)
    assert len(found.boxes) == len(found.positions)
    check_spots(lambda *shown: embeddings(vlm, prompt_of(*shown), found.positions), found.boxes, images, of)


def check_spots(see: Callable[..., Tensor], boxes: Tensor, images: list[Image.Image], of: int) -> None:
    """``see`` makes embeddings [n, D] of images: a spot in one of them changes those whose box holds it."""
    before = see(*images)
    assert len(before) == len(boxes)
    shown = ~boxes.isnan().any(-1)
    assert ((boxes[shown] >= 0) & (boxes[shown] <= 1)).all()
    for x, y in SPOTS:
        other = list(images)
        other[of] = spotted(images[of], x, y)
        change = (see(*other) - before).abs().amax(-1)  # [n]
        moved = change > 0.02 * change.max()
        reach = SPOT / 2
        core = overlap(boxes, torch.tensor([[x - reach / 2, y - reach / 2, x + reach / 2, y + reach / 2]]))[:, 0]
        wide = torch.tensor([[x - reach - BLUR, y - reach - BLUR, x + reach + BLUR, y + reach + BLUR]])
        rim = overlap(boxes, wide)[:, 0]
        assert core.any() and moved[core > 0.02].all(), f"no change at {x, y}, where the spot is"
        assert not moved[rim == 0].any(), f"a change far from {x, y}"


@pytest.mark.parametrize("family", SQUARES + TILES + NATIVE)
def test_a_spot_changes_the_slots_that_lie_there(model: Any, family: str) -> None:
    check(model(family), [tiny.picture(1, (96, 60))], 0)


@pytest.mark.parametrize("family", ["llava", "llava_next", "internvl", "idefics3", "qwen2_vl", "pixtral"])
def test_the_second_of_two_images(model: Any, family: str) -> None:
    check(model(family), [tiny.picture(1, (64, 64)), tiny.picture(2, (60, 96))], 1)


@pytest.mark.parametrize("fusion", ["concat", "hybrid"])
def test_compositions(compose: Compose, fusion: str) -> None:
    check(compose(fusion, tiles=4), [tiny.picture(1, (90, 40))], 0)


@pytest.mark.parametrize("size", [(40, 40), (96, 40)])
def test_where_cross_attention_looks(model: Any, size: tuple[int, int]) -> None:
    vlm, image = model("mllama"), tiny.picture(1, size)
    seen = looked_at(vlm, prompt_of(image))
    keys, boxes = memory_places(vlm, prompt_of(image), 0, len(seen))
    check_spots(lambda shown: looked_at(vlm, prompt_of(shown))[keys], boxes, [image], 0)


@pytest.mark.parametrize("family", NOWHERE)
def test_what_is_no_place_is_said_in_one_line(model: Any, family: str) -> None:
    prompt = prompt_of(tiny.picture(1, (40, 40)))
    vlm = model(family)
    with pytest.raises(UsageError) as raised:
        places(vlm, prompt, vlm.prepare(prompt), 0)
    assert "occlusion" in (raised.value.hint or "")


def test_a_box_is_shared_out_by_its_area() -> None:
    box = torch.tensor([[0.0, 0.0, 0.5, 1.0], [float("nan")] * 4])
    halves = torch.tensor([[0.0, 0.0, 0.25, 1.0], [0.25, 0.0, 1.0, 1.0]])
    assert torch.allclose(overlap(box, halves), torch.tensor([[0.5, 0.5], [0.0, 0.0]]))
