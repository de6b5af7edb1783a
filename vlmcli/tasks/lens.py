"""Logit lens: what each layer of the decoder would say next, at image and at text positions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from vlmcli.engine.sampling import logprobs
from vlmcli.errors import UsageError
from vlmcli.models.lens import lens_logits, nearest_words, projected_patches
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Request, Tick, image_infos, usage
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.lens import Lens, LensPosition, Neighbour
from vlmcli.types.result import TopToken

At = Literal["all", "image", "text", "last"] | int
Notes = tuple[str, ...]

RELIABILITY = (
    "a lens word is a reading, not a fact: early layers need not write in the head's language, and in some models only "
    "the last do (Belrose et al. 2023, arXiv 2303.08112)",
    "at image positions the words were found to fit what the patch shows mostly in the middle and late layers of "
    "LLaVA-like models (Neo et al. 2024, arXiv 2410.07149)",
)
_BESIDE = "the image stands beside the text in this model: there are no image positions to read"
_UNSEEN = "the projected patches of this model cannot be seen, so they have no nearest words"


def lens(
    vlm: Vlm,
    request: Request,
    *,
    at: At = "all",
    layers: Sequence[int] | None = None,
    k: int = 1,
    nearest: int = 1,
    tick: Tick | None = None,
) -> Lens:
    """The ``k`` likeliest next tokens of every layer ``at`` all positions, those of images, of text, or one of them.

    ``layers`` are numbered from 0, what enters the first block, to the number of blocks; None is all of them, and the
    last is always among them, for it says how far the others agree with it. At the last position it is ``topk``. Image
    positions have the ``nearest`` words of their projected patch, by the cosine to the words' input embeddings.

    ``tick(done, total)`` is told the rows of the head's chunks. ``timings_ms``: ``load``, ``prepare``, ``encode``,
    ``nearest``, ``lens``, ``total``.

    Raises UsageError for a position or layer that is not there, ModelError where the decoder cannot be looked into, and
    what ``ask`` raises.
    """
    if k < 1 or nearest < 0:
        raise UsageError("k must be at least 1, and nearest 0 or more")
    watch = Stopwatch(request.load_ms)
    blocks = len(vlm.blocks)
    wanted = _layers(layers, blocks)
    inputs = vlm.prepare(request.prompt)
    watch.lap("prepare")
    is_image = vlm.shown(inputs)
    positions = _positions(is_image, at)
    inputs = vlm.encode(inputs)
    watch.lap("encode")
    near = _neighbours(vlm, inputs, nearest) if nearest and any(is_image[i] for i in positions) else {}
    watch.lap("nearest")
    rows = _rows(vlm, inputs, wanted, positions, k, tick)
    watch.lap("lens")
    by_layer = [rows[start : start + len(positions)] for start in range(0, len(rows), len(positions))]
    return Lens(
        layers=wanted,
        blocks=blocks,
        positions=tuple(
            LensPosition(
                index,
                "image" if is_image[index] else "text",
                inputs.ids[index],
                vlm.vocabulary.token(inputs.ids[index]),
                tuple(words[row] for words in by_layer),
                near.get(index, ()),
            )
            for row, index in enumerate(positions)
        ),
        agreement=tuple(_agreement(words, by_layer[-1]) for words in by_layer),
        model=vlm.info,
        images=image_infos(request.images, inputs),
        usage=usage(inputs),
        notes=(*RELIABILITY, *_missing(request, [is_image[i] for i in positions], any(is_image), near, nearest)),
        timings_ms=watch.timings_ms(),
    )


def _layers(layers: Sequence[int] | None, blocks: int) -> tuple[int, ...]:
    """Each once, in their order, and the last one."""
    if layers is None:
        return tuple(range(blocks + 1))
    for layer in layers:
        if not 0 <= layer <= blocks:
            raise UsageError(f"there is no layer {layer}: they go from 0, the embeddings, to {blocks}, the last block")
    return tuple(sorted({*layers, blocks}))


def _positions(is_image: Sequence[bool], at: At) -> list[int]:
    length = len(is_image)
    if isinstance(at, int):
        if not -length <= at < length:
            raise UsageError(f"there is no position {at}: the prompt has {length} tokens, 0 to {length - 1}")
        return [at % length]
    if at == "last":
        return [length - 1]
    kept = [index for index in range(length) if at == "all" or is_image[index] == (at == "image")]
    if not kept:
        raise UsageError(f"the prompt has no {at} positions")
    return kept


def _rows(
    vlm: Vlm,
    inputs: Inputs,
    layers: Sequence[int],
    positions: Sequence[int],
    k: int,
    tick: Tick | None,
) -> list[tuple[TopToken, ...]]:
    """The likeliest tokens of each position in each layer, all positions of a layer together."""
    found: list[tuple[TopToken, ...]] = []
    seen: dict[int, tuple[str, bytes]] = {}  # words repeat from row to row: one string each is enough
    total = len(layers) * len(positions)
    for logits in lens_logits(vlm, inputs, layers, positions):  # [C, V]
        with torch.inference_mode():
            values, ids = logprobs(logits).topk(min(k, logits.shape[-1]), dim=-1)  # [C, k]
        found.extend(_words(vlm, values, ids, seen))
        if tick:
            tick(len(found), total)
    return found


def _words(vlm: Vlm, values: Tensor, ids: Tensor, seen: dict[int, tuple[str, bytes]]) -> list[tuple[TopToken, ...]]:
    for token_id in {i for row in ids.tolist() for i in row} - seen.keys():
        seen[token_id] = vlm.vocabulary.token(token_id), vlm.vocabulary.bytes(token_id)
    pairs = (zip(*row, strict=True) for row in zip(ids.tolist(), values.tolist(), strict=True))
    return [tuple(TopToken(i, *seen[i], value) for i, value in row) for row in pairs]


def _neighbours(vlm: Vlm, inputs: Inputs, k: int) -> dict[int, tuple[Neighbour, ...]]:
    """The nearest words of each image position; none where the projected patches cannot be seen."""
    patches = projected_patches(inputs)
    if patches is None:
        return {}
    cosines, ids = nearest_words(vlm, patches, k)
    slots = itertools.compress(itertools.count(), inputs.is_image)
    return {
        index: tuple(Neighbour(i, vlm.vocabulary.token(i), cosine) for i, cosine in zip(*row, strict=True))
        for index, row in zip(slots, zip(ids.tolist(), cosines.tolist(), strict=True), strict=True)
    }


def _agreement(words: Sequence[tuple[TopToken, ...]], last: Sequence[tuple[TopToken, ...]]) -> float:
    return sum(one[0].id == final[0].id for one, final in zip(words, last, strict=True)) / len(last)


def _missing(request: Request, wanted: Sequence[bool], any_image: bool, near: Mapping[int, Any], nearest: int) -> Notes:
    """What could not be looked at, in a line each."""
    if request.images and not any_image:
        return (_BESIDE,)
    return (_UNSEEN,) if nearest and any(wanted) and not near else ()
