"""Promptable segmenters: points and boxes -> masks.

Segment Anything (arXiv 2304.02643), SAM 2 (arXiv 2408.00714), SAM-HQ (arXiv 2306.01567) and their kin.
The image is encoded once, by far the most of the work; each prompt then goes through a small decoder.

Shapes: n prompts of k points each, m masks a prompt, h and w of a decoder's masks, H and W of the image.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import ImageError, ModelError, NumericalError
from vlmcli.models.device import memory_guard
from vlmcli.models.features import Encoded, FeatureStore
from vlmcli.models.seen import placed, size_of
from vlmcli.types.detect import Box
from vlmcli.types.result import ModelInfo
from vlmcli.types.segment import Prompt, Rle

_NEEDED = {"input_points", "input_labels", "input_boxes", "image_embeddings"}
_STRICTER = 1.0
"""Of the two cuts that stability compares: logits above 1, and above -1 (Segment Anything, section 4)."""


@dataclass(frozen=True)
class Scene:
    """An encoded image of ``size`` (width, height).

    ``features`` are what the model's ``forward`` takes in the place of pixels, ``shapes`` what its post-processing
    asks for; ``scale`` are the factors from the image's pixels to those that the encoder saw.
    """

    features: Mapping[str, Any]
    shapes: Mapping[str, Sequence[Sequence[int]]]
    size: tuple[int, int]
    scale: tuple[float, float]
    resized: tuple[int, int]
    cached: bool | None = None


@dataclass(frozen=True)
class Proposals:
    """Masks as the decoder draws them: logits [n, m, h, w] in float32, and the model's guess at their IoU [n, m]."""

    logits: Tensor
    ious: Tensor


@dataclass(frozen=True)
class Drawn:
    """One mask in the image's own pixels: whether each is in it [H, W], and the mask's stability."""

    pixels: Tensor
    stability: float


class Segmenter:
    """A model that draws masks of what points and boxes point at. ``features`` keeps encoded images."""

    def __init__(self, model: Any, processor: Any, info: ModelInfo, features: FeatureStore | None = None) -> None:
        taken = inspect.signature(model.forward).parameters.keys()
        if not (hasattr(model, "get_image_embeddings") and taken >= _NEEDED):
            raise ModelError(f"{info.id} takes no points and boxes: it cannot segment what one points at")
        for module in model.modules():
            if hasattr(module, "get_decomposed_rel_pos"):
                module.get_decomposed_rel_pos = partial(_relative_places, module.get_rel_pos)
        self.model = model
        self.processor = processor
        self.info = info
        self._features = features

    def encode(self, image: Image.Image) -> Scene:
        """An upright RGB image, encoded. Raises ImageError for one too narrow, NumericalError, OutOfMemory."""
        with memory_guard("encoding an image"), torch.inference_mode():
            try:
                inputs = self.processor(images=[image], return_tensors="pt")
            except (RuntimeError, ValueError, ZeroDivisionError) as error:
                if min(image.size) * 100 > max(image.size):
                    raise
                raise ImageError(f"an image of {image.width} x {image.height} is too narrow for this model") from error
            shapes = {k: inputs[k].tolist() for k in ("original_sizes", "reshaped_input_sizes") if k in inputs}
            pixels = placed(self.model, {"pixel_values": inputs["pixel_values"]})
            kept, (known,) = (
                (self._embed(**pixels), (None,))
                if self._features is None
                else self._features.look_up(self._embed, pixels, (1,))
            )
        resized = size_of(pixels["pixel_values"])
        # Padding is on the right and at the bottom: it moves no point.
        height, width = shapes.get("reshaped_input_sizes", [resized[::-1]])[0]
        scale = (width / image.width, height / image.height)
        return Scene(_as_arguments(kept), shapes, image.size, scale, resized, known)

    def propose(self, scene: Scene, prompts: Sequence[Prompt], several: bool) -> Proposals:
        """Prompts of one shape (all with the same number of points of either kind, all or none with a box) -> masks.

        ``several``: three candidates for each (what one point means is ambiguous: a button, a shirt, a person), else
        one. Raises NumericalError, OutOfMemory.
        """
        device = self.model.device
        inputs: dict[str, Tensor] = {}
        if prompts[0].points or prompts[0].negative:
            points = torch.tensor([(*prompt.points, *prompt.negative) for prompt in prompts])  # [n, k, 2]
            kinds = [[1] * len(prompt.points) + [0] * len(prompt.negative) for prompt in prompts]
            inputs["input_points"] = (points.float() * torch.tensor(scene.scale))[None].to(device)  # [1, n, k, 2]
            inputs["input_labels"] = torch.tensor(kinds)[None].to(device)  # [1, n, k]
        if prompts[0].box is not None:
            boxes = torch.tensor([prompt.box for prompt in prompts]).float()  # [n, 4]
            inputs["input_boxes"] = (boxes * torch.tensor(scene.scale * 2))[None].to(device)  # [1, n, 4]
        with memory_guard("drawing masks"), torch.inference_mode():
            output = self.model(**scene.features, **inputs, multimask_output=several)
        logits, ious = output.pred_masks[0].float(), output.iou_scores[0].float()  # [n, m, h, w], [n, m]
        if not (torch.isfinite(ious).all() and torch.isfinite(logits).all()):
            raise NumericalError("the model produced NaN or infinite numbers", hint="try --dtype float32")
        return Proposals(logits, ious.cpu())

    def draw(self, scene: Scene, logits: Tensor) -> Drawn:
        """One mask's logits [h, w], brought to the image's size. Raises OutOfMemory."""
        with memory_guard("drawing masks"), torch.inference_mode():
            (enlarged,) = self.processor.post_process_masks([logits[None, None]], **_spread(scene), binarize=False)
            large = enlarged[0, 0]  # [H, W]
            strict, loose = int((large > _STRICTER).sum()), int((large > -_STRICTER).sum())
            return Drawn(large > 0, strict / loose if loose else 0.0)

    def _embed(self, pixel_values: Tensor) -> Encoded:
        """The encoder's output, in the two places where the store of features looks for tensors."""
        output = self.model.get_image_embeddings(pixel_values)
        if isinstance(output, tuple):  # SAM-HQ's decoder looks at inner layers too
            return Encoded({"pooler_output": output[0], "intermediate_embeddings": list(output[1])})
        return Encoded({"pooler_output": output})


def _relative_places(
    rows_of: Any, query: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, q_size: tuple[int, int], k_size: tuple[int, int]
) -> Tensor:
    """What the attention of SAM's encoder adds for relative places: [B, h, w, h, w] of a query [B, h * w, D].

    As transformers adds the two, their sum lies in memory in an order that attention has to copy: with 64 x 64 patches
    and 12 heads a second 0.8 GB.
    """
    placed = query.reshape(len(query), *q_size, -1)  # [B, h, w, D]
    above = torch.einsum("bhwc,hkc->bhwk", placed, rows_of(q_size[0], k_size[0], rel_pos_h)).contiguous()
    beside = torch.einsum("bhwc,wkc->bhwk", placed, rows_of(q_size[1], k_size[1], rel_pos_w)).contiguous()
    return above[..., None] + beside[..., None, :]


def _as_arguments(kept: Any) -> dict[str, Any]:
    inner = kept.intermediate_embeddings
    return {"image_embeddings": kept.pooler_output} | ({} if inner is None else {"intermediate_embeddings": inner})


def _spread(scene: Scene) -> dict[str, Any]:
    """The keyword arguments of a family's own post-processing."""
    return {name: [list(size) for size in sizes] for name, sizes in scene.shapes.items()}


def encoded(mask: Tensor) -> Rle:
    """A mask [H, W] of booleans in run-length encoding."""
    flat = mask.t().flatten()  # column by column
    changes = (flat[1:] != flat[:-1]).nonzero().flatten().add(1).cpu()
    ends = torch.cat([changes, changes.new_tensor([flat.numel()])])
    runs = ends.diff(prepend=ends.new_zeros(1)).tolist()
    return Rle.of_runs((mask.shape[0], mask.shape[1]), [0, *runs] if flat[0] else runs)


def bounds(mask: Tensor) -> Box:
    """The smallest box around a mask [H, W]; all zeros where nothing is in it."""
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    return (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
