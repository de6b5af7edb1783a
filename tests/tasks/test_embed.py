"""Images and texts as unit vectors: the right ones, in order, batch by batch, and past what is broken."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests import tiny
from vlmcli.api.dual import DualModel
from vlmcli.cli.embed import embed as command
from vlmcli.errors import ImageError, InputError, NumericalError, UsageError
from vlmcli.inputs.image import LoadedImage, load_image
from vlmcli.tasks.embed import BATCH_SIZE, batches, embed
from vlmcli.types.embed import Embedding, EmbedTotals, Skipped, TextInfo
from vlmcli.types.result import ImageInfo, ModelInfo, Start

MADE_BY = ModelInfo("tiny", "r1", "float32", "cpu")
TEXTS = ("a cat", "a dog", "a house on a hill")
TOO_LONG = "cat " * 60


def read(item: int) -> LoadedImage:
    """Picture number ``item``; a negative one is broken."""
    if item < 0:
        raise ImageError(f"picture {item} is broken", "draw another")
    return load_image(tiny.picture(item))


def run(dual: Any, images: Sequence[int], texts: Sequence[str] = (), **options: Any) -> list[Any]:
    return list(embed(dual, images, texts, read=read, model=MADE_BY, **options))


def vectors(events: list[Any]) -> torch.Tensor:
    return torch.tensor([event.vector for event in events if isinstance(event, Embedding)])


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_vectors_are_those_of_transformers_own_forward(model: Any, family: str) -> None:
    dual = model(family)
    padding = {"padding": True} if family == "clip" else {"padding": "max_length", "max_length": 24}
    pictures = [tiny.picture(seed) for seed in range(3)]
    inputs = dual.processor(text=list(TEXTS), images=pictures, return_tensors="pt", **padding)
    with torch.no_grad():
        theirs = dual.model(**inputs)
    ours = vectors(run(dual, range(3), TEXTS))
    assert torch.allclose(ours[:3], theirs.image_embeds, atol=1e-5)
    assert torch.allclose(ours[3:], theirs.text_embeds, atol=1e-5)


def test_everything_is_named_in_order(model: Any) -> None:
    start, *made, totals = run(model("siglip"), [1, 0], ["a cat"])
    assert start == Start(MADE_BY, (), start.usage)
    assert [event.kind for event in made] == ["image", "image", "text"]
    first, _, last = (event.of for event in made)
    assert isinstance(first, ImageInfo) and isinstance(last, TextInfo)
    assert (first.sha256, first.original, first.resized) == (read(1).info.sha256, (40, 32), (32, 32))
    assert (last.text, last.sha256) == ("a cat", hashlib.sha256(b"a cat").hexdigest())
    assert (totals.images, totals.texts, totals.skipped, totals.dimensions) == (2, 1, 0, 32)
    assert totals.model == MADE_BY
    assert (totals.usage.image_tokens, totals.usage.prompt_tokens) == (2 * first.tokens, 2 * first.tokens + last.tokens)
    assert set(totals.timings_ms) == {"load", "images", "texts", "total"}


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_the_batch_size_changes_nothing(model: Any, family: str) -> None:
    together, apart = (vectors(run(model(family), range(5), TEXTS, batch_size=size)) for size in (16, 2))
    assert (together - apart).abs().max() <= 1e-5


def test_images_are_read_when_their_turn_comes(model: Any) -> None:
    """A million of them must not be in memory together."""
    seen: list[int] = []

    def noting(item: int) -> LoadedImage:
        seen.append(item)
        return read(item)

    events = embed(model("clip"), range(9), (), read=noting, model=MADE_BY, batch_size=2)
    for event in events:
        if isinstance(event, Embedding):
            assert len(seen) == 2
            break
    events.close()
    assert len(seen) == 2


def test_one_forward_a_batch(model: Any) -> None:
    dual = model("clip")
    sizes: list[int] = []
    handle = dual.model.vision_model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    try:
        run(dual, [0, -1, 1, 2, 3, 4], batch_size=2)
    finally:
        handle.remove()
    assert sizes == [2, 2, 1], "a batch is filled up past the broken image"


def test_what_is_broken_is_skipped_and_the_others_go_on(model: Any) -> None:
    dual = model("siglip")
    events = run(dual, [0, -1, 1, -2], ["a cat", TOO_LONG])
    skipped = [event for event in events if isinstance(event, Skipped)]
    assert [event.error for event in skipped] == ["ImageError", "ImageError", "ContextOverflow"]
    assert (skipped[0].message, skipped[0].hint) == ("picture -1 is broken", "draw another")
    assert skipped[2].source == TOO_LONG
    totals = events[-1]
    assert isinstance(totals, EmbedTotals)
    assert (totals.images, totals.texts, totals.skipped) == (2, 1, 3)
    assert torch.equal(vectors(events), vectors(run(dual, [0, 1], ["a cat"])))


def test_a_lone_item_raises_its_own_error(model: Any) -> None:
    with pytest.raises(ImageError, match="picture -1 is broken"):
        run(model("siglip"), [-1])


def test_nothing_at_all_is_an_error(model: Any) -> None:
    with pytest.raises(InputError, match="none of the 2"):
        run(model("siglip"), [-1, -2])
    with pytest.raises(UsageError):
        run(model("siglip"), [])
    with pytest.raises(UsageError):
        run(model("siglip"), [1], batch_size=0)


def test_nan_ends_it(folder_of: Any) -> None:
    from tests.models.test_load import load_folder

    dual = load_folder(folder_of("clip"))
    dual.model.visual_projection.weight.data.fill_(float("nan"))
    with pytest.raises(NumericalError):
        run(dual, [1, 2], ["a cat"])


def test_batches() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []


@pytest.mark.parametrize("front", [DualModel.embed, command])
def test_the_front_ends_have_the_batches_of_zeroshot(front: Any) -> None:
    """Where the defaults differed, kept vectors would give slightly other scores than their images."""
    assert inspect.signature(front).parameters["batch_size"].default == BATCH_SIZE
