"""Where the image slots of a prompt lie in the picture: resizing, cropping, padding and tiles undone.

Nothing of that is worked out a second time here. The processor is asked about four grey pictures of the same size,
black, white, one whose grey grows from left to right and one whose grey grows downwards: what it makes of them says of
every value that it hands to the model how much of the picture it shows, and from where. Padding shows nothing.

Shapes: N tiles of h x w pixels or patches, n slots of the image, k slots of a tile. Boxes are (left, top, right,
bottom) in fractions of the upright picture, NaN for what shows nothing of it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import UsageError
from vlmcli.inputs import chat
from vlmcli.inputs.chat import Prompt
from vlmcli.models.projector import PerceiverResampler
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm

# What these make of an image are answers to learned queries, or words of a code book that see all of it.
_QUERIES = ("aria", "blip-2", "chameleon", "emu3", "idefics2", "instructblip", "kosmos-2")

_PIXELS = ("pixel_values", "pixel_values_images", "image_patches")
_ELSEWHERE = "occlusion needs none of this: use --method occlusion"


@dataclass(frozen=True)
class Places:
    """``positions`` of an image's n slots in the prompt, and where each lies in the picture, ``boxes`` [n, 4]."""

    positions: tuple[int, ...]
    boxes: Tensor


@dataclass(frozen=True)
class _Tile:
    """A part of the picture as the model gets it: the place of every pixel or patch, ``x`` and ``y`` [h, w]."""

    x: Tensor
    y: Tensor


def places(vlm: Vlm, prompt: Prompt, inputs: Inputs, of: int) -> Places:
    """The slots of image number ``of``.

    Raises UsageError where they are no places in the picture: cross-attention, learned queries, code books.
    """
    positions = slots_of(vlm, inputs, of)
    count = len(positions)
    tensors = chat.encode_batch(vlm.processor, (prompt,), vlm.template, vlm.image_token_id).tensors
    if (grid := tensors.get("image_grid_thw")) is not None:
        return Places(positions, _regular(*_slot_grid(count, int(grid[of, 1]), int(grid[of, 2]))))
    x, y = _probed(vlm, prompt, of)  # like the pixels
    if (pooling := tensors.get("image_token_pooling")) is not None:
        before = sum(shape.tokens for shape in inputs.images[:of])
        return Places(positions, _pooled(x, y, pooling[before : before + count]))
    if x.dim() < 4 and (shapes := tensors.get("spatial_shapes")) is None:
        return Places(positions, _checked(_shown(_extent(x.flatten(0, -2), y.flatten(0, -2))), count))
    tiles = _naflex(x, y, shapes) if x.dim() < 4 else _tiles(x, y)
    if getattr(vlm.model, "fusion", "") == "hybrid":
        tiles = tiles[:1]  # the thumbnail is spliced, the others are looked at
    if pack := getattr(vlm.model.base_model, "pack_image_features", None):
        return Places(positions, _packed(vlm, pack, tiles, tensors["image_sizes"][of]))
    if (sizes := tensors.get("image_sizes")) is not None:  # the rest of the tensor is there for larger images
        height, width = (int(side) for side in sizes[of])
        tiles = [_Tile(tile.x[:height, :width], tile.y[:height, :width]) for tile in tiles]
    area = sum(tile.x.numel() for tile in tiles)
    boxes = [_cells(tile, *_slot_grid(count * tile.x.numel() // area, *tile.x.shape)) for tile in tiles]
    return Places(positions, _checked(torch.cat(boxes), count))


def memory_places(vlm: Vlm, prompt: Prompt, of: int, keys: int) -> tuple[Tensor, Tensor]:
    """What cross-attention looks at of image number ``of``: which of the ``keys`` [m], and their boxes [m, 4].

    Each tile of each image has as many of them: a class embedding, then its patches row by row.
    """
    x, y = _probed(vlm, prompt, of)
    x, y = x.flatten(0, -4).nanmean(1), y.flatten(0, -4).nanmean(1)  # [N, h, w]
    own, each = keys // len(x), []
    if keys % len(x) or math.isqrt(own - 1) ** 2 != own - 1:
        raise UsageError("it is not known where this model's cross-attention looks", hint=_ELSEWHERE)
    side = math.isqrt(own - 1)
    for xs, ys in zip(x, y, strict=True):
        seen = not bool(xs.isnan().all())
        cells = _cells(_Tile(xs, ys), side, side) if seen else torch.full((own - 1, 4), math.nan)
        each.append(torch.cat([torch.full((1, 4), math.nan), cells]))
    return torch.arange(keys), torch.cat(each)


def slots_of(vlm: Vlm, inputs: Inputs, of: int) -> tuple[int, ...]:
    """The positions of the slots of image number ``of``. Raises UsageError where there are none, or no places."""
    projector = getattr(vlm.model, "projector", None)
    if vlm.model.config.model_type in _QUERIES or isinstance(projector, PerceiverResampler):
        raise UsageError("this model's image slots are no places in the image", hint=_ELSEWHERE)
    slots = [index for index, image in enumerate(inputs.is_image) if image]
    before = sum(shape.tokens for shape in inputs.images[:of])
    own = slots[before : before + inputs.images[of].tokens]
    if not own or vlm.image_token_id is None or vlm.model.config.model_type in ("mllama", "idefics"):
        raise UsageError("this model looks at its images beside the text, not in it", hint=_ELSEWHERE)
    return tuple(own)


def overlap(boxes: Tensor, areas: Tensor) -> Tensor:
    """Which part of each of ``boxes`` [n, 4] lies in each of ``areas`` [m, 4]: [n, m], 0 for a box that is nowhere."""
    low = torch.maximum(boxes[:, None, :2], areas[None, :, :2])  # [n, m, 2]
    high = torch.minimum(boxes[:, None, 2:], areas[None, :, 2:])
    size = (boxes[:, 2:] - boxes[:, :2]).prod(-1, keepdim=True)  # [n, 1]
    return ((high - low).clamp(min=0).prod(-1) / size).nan_to_num(0.0, 0.0, 0.0)


def _probed(vlm: Vlm, prompt: Prompt, of: int) -> tuple[Tensor, Tensor]:
    """Where in the picture each value lies that the processor makes: x and y in fractions, shaped like the pixels."""
    size = prompt.images[of].size
    black, white = Image.new("L", size, 0), Image.new("L", size, 255)
    across, down = Image.new("L", (256, 1)), Image.new("L", (1, 256))
    across.putdata(range(256))
    down.putdata(range(256))
    ramps = [ramp.resize(size, Image.Resampling.BILINEAR) for ramp in (across, down)]
    dark, light, *grown = (_pixels(vlm, prompt, of, picture.convert("RGB")) for picture in (black, white, *ramps))
    span = torch.where(dark == light, math.nan, light - dark)
    # A grey of g of 255 stands at (g + 1/2) / 256: the ramp has 256 steps, each as wide as the others.
    x, y = (((value - dark) / span * 255 + 0.5) / 256 for value in grown)
    return x, y


def _pixels(vlm: Vlm, prompt: Prompt, of: int, picture: Image.Image) -> Tensor:
    images = (*prompt.images[:of], picture, *prompt.images[of + 1 :])
    encoded = chat.encode_batch(vlm.processor, (replace(prompt, images=images),), vlm.template, vlm.image_token_id)
    found = next((encoded.tensors[name] for name in _PIXELS if encoded.tensors.get(name) is not None), None)
    if isinstance(found, (list, tuple)):
        found = torch.cat([part.flatten(0, -2) for part in found])
    if not isinstance(found, Tensor):
        raise UsageError("it is not known what this model's processor makes of an image", hint=_ELSEWHERE)
    return found.float()


def _tiles(x: Tensor, y: Tensor) -> list[_Tile]:
    """The tiles [..., 3, h, w] that show something of the picture, in their order."""
    pairs = zip(x.flatten(0, -4), y.flatten(0, -4), strict=True)
    return [_Tile(xs.nanmean(0), ys.nanmean(0)) for xs, ys in pairs if not bool(xs.isnan().all())]


def _naflex(x: Tensor, y: Tensor, shapes: Any) -> list[_Tile]:
    """Tiles as bags of patches [N, patches, values], of which ``shapes`` [N, 2] says how many rows and columns."""
    found = []
    for xs, ys, (rows, columns) in zip(x.nanmean(-1), y.nanmean(-1), shapes.tolist(), strict=True):
        if not bool(xs.isnan().all()):
            found.append(_Tile(*(part[: rows * columns].view(rows, columns) for part in (xs, ys))))
    return found


def _cells(tile: _Tile, rows: int, columns: int) -> Tensor:
    """A tile's slots, row by row [rows * columns, 4]."""
    left, right = _edges(tile.x.nanmean(0), columns)
    top, bottom = _edges(tile.y.nanmean(1), rows)
    grid = [part.expand(rows, columns) for part in (left, top[:, None], right, bottom[:, None])]
    return _or_nowhere(torch.stack(grid, dim=-1).flatten(0, 1))


def _edges(places: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Low and high edges of ``parts`` equal parts of an axis whose pixels lie at ``places`` [w]; padding is NaN.

    Resizing is a straight line from pixels to places: fitted, so that neither rounding nor the rims matter.
    """
    shown = ~places.isnan()
    at = torch.arange(len(places), dtype=places.dtype)[shown] + 0.5
    seen = places[shown]
    if len(seen) == 1:
        slope = torch.ones(())
    else:
        slope = ((at - at.mean()) * (seen - seen.mean())).sum() / (at - at.mean()).square().sum()
    cuts = torch.linspace(0, len(places), parts + 1)
    first, last = at[0] - 0.5, at[-1] + 0.5
    low, high = cuts[:-1].clamp(first, last), cuts[1:].clamp(first, last)
    low, high = (((cut - at.mean()) * slope + seen.mean()).clamp(0, 1) for cut in (low, high))
    return low, high


def _or_nowhere(boxes: Tensor) -> Tensor:
    """Boxes without an inside become NaN."""
    empty = (boxes[:, 2:] - boxes[:, :2] <= 1e-6).any(-1, keepdim=True)
    return torch.where(empty, math.nan, boxes)


def _slot_grid(count: int, height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of ``count`` slots in the shape of ``height`` x ``width``. Raises UsageError if there is none."""
    rows = round(math.sqrt(count * height / width))
    for tried in (rows, rows + 1, rows - 1):
        if tried > 0 and count % tried == 0 and tried * width == count // tried * height:
            return tried, count // tried
    raise UsageError(f"it is not known where the {count} image slots of this model lie", hint=_ELSEWHERE)


def _regular(rows: int, columns: int) -> Tensor:
    """A grid over the whole picture [rows * columns, 4]."""
    across, down = torch.linspace(0, 1, columns + 1), torch.linspace(0, 1, rows + 1)
    edges = (across[:-1], down[:-1, None], across[1:], down[1:, None])
    return torch.stack([edge.expand(rows, columns) for edge in edges], dim=-1).flatten(0, 1)


def _extent(x: Tensor, y: Tensor) -> Tensor:
    """The boxes [n, 4] of patches by the places [n, values] of their values, of which a third may be one channel's."""
    values = x.shape[-1]
    side = math.isqrt(values // 3 if values % 3 == 0 else values)
    rim = 0.5 / max(side - 1, 1)  # half a pixel beyond the middle of the outermost
    edges = []
    for part in (x, y):
        low, high = part.nan_to_num(2).amin(-1), part.nan_to_num(-1).amax(-1)
        edges.append((low - (high - low) * rim, high + (high - low) * rim))
    (left, right), (top, bottom) = edges
    return _or_nowhere(torch.stack([left, top, right, bottom], dim=-1).clamp(0, 1))


def _shown(boxes: Tensor) -> Tensor:
    return boxes[~boxes.isnan().any(-1)]


def _pooled(x: Tensor, y: Tensor, pooling: Tensor) -> Tensor:
    """Slots that are pooled from patches [N, patches, values]: ``pooling`` [n, some] names them, -1 for none."""
    x, y = (part.flatten(0, -2) for part in (x, y))
    patches = _extent(x, y)  # [N patches, 4]
    named = torch.where((pooling >= 0)[..., None], patches[pooling.clamp(min=0)], math.nan)  # [n, some, 4]
    low, high = named[..., :2].nan_to_num(2).amin(1), named[..., 2:].nan_to_num(-1).amax(1)
    return _or_nowhere(torch.cat([low, high], dim=-1))


def _packed(vlm: Vlm, pack: Any, tiles: list[_Tile], size: Tensor) -> Tensor:
    """AnyRes as the model itself packs it: boxes take the place of features, and a line break is nowhere."""
    config = vlm.model.config
    side = config.vision_config.image_size // config.vision_config.patch_size
    boxes = torch.stack([_cells(tile, side, side) for tile in tiles])  # [N, k, 4]
    wanted = inspect.signature(pack).parameters
    named = ("vision_feature_select_strategy", "vision_aspect_ratio")
    options: Mapping[str, Any] = {name: getattr(config, name) for name in named if name in wanted}
    packed, _ = pack([boxes], size[None], image_newline=torch.full((4,), math.nan), **options)
    return packed[0]  # type: ignore[no-any-return]


def _checked(boxes: Tensor, count: int) -> Tensor:
    """Raises UsageError unless there is a box for each slot."""
    if len(boxes) != count:
        raise UsageError(f"it is not known where the {count} image slots of this model lie", hint=_ELSEWHERE)
    return boxes
