"""A small SAM (arXiv 2304.02643), the examples that it learns from, and its loss.

Shapes: B pictures, G prompts a picture, K points a prompt, m masks a prompt, h and w of the decoder's masks, D width.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import SamConfig, SamImageProcessor, SamModel

from recipes.learning import Stage
from recipes.picturebook.data import normalised, pixels_of
from recipes.picturebook.scenes import Scene, draw, owners, sample_scene
from vlmcli.models.segmenter import bounds

SIDE_PX = 128
PATCH_PX = 8
GRID = SIDE_PX // PATCH_PX
MASK_PX = 4 * GRID  # sides of the decoder's masks
WIDTH = 128
LAYERS = 3
CHANNELS = 96  # of what goes from the encoder to the decoder, and of the decoder itself
_SHARPNESS = 1.7  # of the first attention to places; 1: what of nearness a projection to half the width leaves
_FOCAL = 4  # parts to one of dice; SAM has 20, for masks of more pixels
KINDS = {"single": 2, "few": 4, "crowd": 3, "collage": 3, "pile": 3}
_PROMPTS = 4  # of each of two kinds, a picture
_LEAST_PX = 12  # a thing of which less is to be seen is not pointed at
# What the prompts of one batch consist of, beside single points: points in the thing, points outside, a box or none.
MIXES = ((0, 0, True), (0, 0, True), (1, 0, True), (1, 1, False), (2, 1, False), (2, 0, False), (1, 2, True))


def model() -> SamModel:
    """Untrained. So few patches need no windows."""
    config = SamConfig(
        vision_config={
            "num_hidden_layers": LAYERS, "image_size": SIDE_PX, "patch_size": PATCH_PX, "hidden_size": WIDTH,
            "num_attention_heads": 4, "output_channels": CHANNELS, "use_rel_pos": False, "window_size": 0,
            "global_attn_indexes": list(range(LAYERS)), "num_pos_feats": CHANNELS // 2, "initializer_range": 0.02,
            "hidden_act": "relu",
        },
        prompt_encoder_config={"hidden_size": CHANNELS, "image_size": SIDE_PX, "patch_size": PATCH_PX},
        mask_decoder_config={
            "hidden_size": CHANNELS, "mlp_dim": 256, "num_attention_heads": 4, "iou_head_hidden_dim": CHANNELS,
        },
    )  # fmt: skip
    made = SamModel(config)
    _look_where_it_is_pointed(made)
    return made


@torch.no_grad()
def _look_where_it_is_pointed(made: SamModel) -> None:
    """Start with attention between places that are near each other: else nearly all of the training goes into that.

    Places are known by Fourier features: their inner product falls with the distance of two places. So where queries
    and keys are projected alike, a point attends to the patches around it, and they to the point.
    """
    places = made.shared_image_embedding.positional_embedding
    # transformers starts the frequencies far too high for so few patches: neighbours should look alike.
    places.copy_(torch.randn_like(places) * 0.7)
    for embedding in (*made.prompt_encoder.point_embed, made.prompt_encoder.not_a_point_embed):
        nn.init.normal_(embedding.weight, std=0.2)
    for name, layer in made.mask_decoder.named_modules():
        if name.endswith(("cross_attn_token_to_image", "cross_attn_image_to_token", "final_attn_token_to_image")):
            nn.init.orthogonal_(layer.q_proj.weight, _SHARPNESS)
            layer.k_proj.weight.copy_(layer.q_proj.weight)
    nn.init.normal_(made.vision_encoder.pos_embed, std=0.02)


def image_processor() -> SamImageProcessor:
    return SamImageProcessor(
        size={"longest_edge": SIDE_PX}, pad_size={"height": SIDE_PX, "width": SIDE_PX},
        mask_size={"longest_edge": MASK_PX}, mask_pad_size={"height": MASK_PX, "width": MASK_PX},
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip


def fitted(scene: Scene) -> tuple[int, int]:
    """The picture's size (width, height) when its longer side fills the square."""
    scale = SIDE_PX / max(scene.width_px, scene.height_px)
    return round(scene.width_px * scale), round(scene.height_px * scale)


def padded(image: Image.Image) -> Tensor:
    """A fitted picture as uint8 [3, side, side]; what is added is gray, as zeros behind the normalisation are."""
    canvas = Image.new("RGB", (SIDE_PX, SIDE_PX), (127, 127, 127))
    canvas.paste(image, (0, 0))
    return pixels_of(canvas, SIDE_PX)


class MaskExamples(Dataset[dict[str, Any]]):
    """Pictures, and which thing each of their pixels shows."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"masks-{self.seed}-{index}")
        scene = Scene(1, 1, "", (0, 0, 0), ())
        while not scene.items:
            scene = sample_scene(rng, rng.choices(list(KINDS), list(KINDS.values()))[0])
        size = fitted(scene)
        shown = np.zeros((SIDE_PX, SIDE_PX), dtype=np.int64)  # [H, W]
        shown[: size[1], : size[0]] = np.asarray(owners(scene, *size))
        pixels = padded(draw(scene, rng).resize(size, Image.Resampling.BILINEAR))
        return {"pixels": pixels, "shown": shown, "size": size, "rng": rng}


@dataclass(frozen=True, slots=True)
class Pointed:
    """A thing that is pointed at: points x, y in it, points outside of it, and a box around it."""

    mask: np.ndarray[Any, Any]
    inside: list[tuple[int, int]]
    outside: list[tuple[int, int]]
    box: tuple[float, ...]


def point_at(rng: random.Random, shown: np.ndarray[Any, Any], size: tuple[int, int], mix: tuple[int, int]) -> Pointed:
    """One of the things of a picture, or the ground behind them, by so many points inside and outside."""
    numbers, areas = np.unique(shown[: size[1], : size[0]], return_counts=True)
    things = [int(n) for n, area in zip(numbers, areas, strict=True) if n and area >= _LEAST_PX]
    chosen = rng.choice(things) if things else 0
    mask = shown == chosen  # [H, W]
    left, top, right, bottom = bounds(torch.from_numpy(mask))
    loose = 0.06 * min(right - left, bottom - top)  # a detector's box is a little off, and so is a hand's
    box = tuple(edge + rng.uniform(-loose, loose) for edge in (left, top, right, bottom))
    outside = ~mask
    outside[size[1] :] = False
    outside[:, size[0] :] = False
    return Pointed(mask, _some(rng, mask, mix[0]), _some(rng, outside, mix[1]), box)


def _some(rng: random.Random, where: np.ndarray[Any, Any], count: int) -> list[tuple[int, int]]:
    rows, columns = where.nonzero()
    picked = [rng.randrange(len(rows)) for _ in range(count)]
    return [(int(columns[i]), int(rows[i])) for i in picked]


def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Single points, and as many prompts of one other mix: prompts of one batch have one shape."""
    more_in, more_out, boxed = examples[0]["rng"].choice(MIXES)
    single = [[point_at(e["rng"], e["shown"], e["size"], (1, 0)) for _ in range(_PROMPTS)] for e in examples]
    mixed = [
        [point_at(e["rng"], e["shown"], e["size"], (more_in, more_out)) for _ in range(_PROMPTS)] for e in examples
    ]
    batch = {
        "pixels": torch.stack([e["pixels"] for e in examples]),
        "points": torch.tensor([[p.inside for p in row] for row in single]).float(),  # [B, G, 1, 2]
        "single": _masks(single),  # [B, G, side, side]
        "mixed": _masks(mixed),
        "more": None,
        "kinds": torch.tensor([[[1] * more_in + [0] * more_out] * _PROMPTS] * len(examples)),  # [B, G, K]
        "boxes": torch.tensor([[p.box for p in row] for row in mixed]) if boxed else None,  # [B, G, 4]
    }
    if more_in + more_out:
        batch["more"] = torch.tensor([[p.inside + p.outside for p in row] for row in mixed]).float()  # [B, G, K, 2]
    return batch


def _masks(prompts: list[list[Pointed]]) -> Tensor:
    return torch.from_numpy(np.array([[p.mask for p in row] for row in prompts]))


class MaskStage(Stage):
    """Of three masks for a single point the best learns; what more is said about, one mask answers."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model()

    def losses(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        seen = self.model.vision_encoder(normalised(batch["pixels"])).last_hidden_state  # [B, D, h, w]
        ones = torch.ones(batch["points"].shape[:3], dtype=torch.long, device=seen.device)
        clicked = self.model(
            image_embeddings=seen, input_points=batch["points"], input_labels=ones, multimask_output=True
        )
        points = {} if batch["more"] is None else {"input_points": batch["more"], "input_labels": batch["kinds"]}
        boxes = {} if batch["boxes"] is None else {"input_boxes": batch["boxes"]}
        told = self.model(image_embeddings=seen, multimask_output=False, **points, **boxes)
        from_click, click_iou = mask_loss(clicked.pred_masks, clicked.iou_scores, batch["single"])
        from_more, more_iou = mask_loss(told.pred_masks, told.iou_scores, batch["mixed"])
        figures = {"click": from_click.item(), "iou": click_iou.item(), "more": from_more.item()}
        return from_click + from_more, figures | {"more_iou": more_iou.item()}


def mask_loss(logits: Tensor, ious: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """SAM's loss (its appendix A) of logits [B, G, m, h, w] and predicted ious [B, G, m]; and the mean of the best IoU.

    Focal loss and dice on the best of m masks, and the squared error of every predicted IoU. Of the masks
    [B, G, side, side] each pixel of the decoder is compared with the share that lies in it.
    """
    cells = masks.float().unflatten(-1, (MASK_PX, -1)).unflatten(-3, (MASK_PX, -1))  # [B, G, h, ., w, .]
    wanted = cells.mean((-3, -1))[:, :, None].expand_as(logits)  # [B, G, m, h, w]
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    sure = logits.sigmoid()  # [B, G, m, h, w]
    focal = (entropy * (sure - wanted).abs().detach().square()).mean((-2, -1))  # [B, G, m]
    both, sum_ = (sure * wanted).sum((-2, -1)), (sure + wanted).sum((-2, -1))
    dice = 1 - (2 * both + 1) / (sum_ + 1)
    loss, best = (_FOCAL * focal + dice).min(-1)  # [B, G]
    with torch.no_grad():
        drawn, true = logits > 0, wanted > 0.5
        iou = (drawn & true).sum((-2, -1)) / (drawn | true).sum((-2, -1)).clamp(min=1)  # [B, G, m]
    guess = (ious - iou).square().mean()
    return loss.mean() + guess, iou.gather(-1, best[..., None]).mean()
