"""A small OWL-ViT (arXiv 2205.06230), the examples that it learns from, and its loss.

Shapes: B pictures, P patches, N things of a picture at the most, M labels of the batch, D width.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from PIL import ImageDraw
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import CLIPTokenizer, OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessor, SiglipModel

from recipes.learning import Stage
from recipes.picturebook.data import normalised, pixels_of
from recipes.picturebook.parts import GRID, SIDE_PX, WIDTH, vision_config
from recipes.picturebook.scenes import Scene, draw, owners, sample_scene
from recipes.shapes.phrases import Phrase, Thing, sample_phrases, things_in
from recipes.shapes.words import TEXT_LENGTH
from vlmcli.models.boxes import areas, corners
from vlmcli.weights.resolve import BUILTIN

LAYERS = 4  # of the six that picturebook's encoder has
TEXT_WIDTH, TEXT_LAYERS = 128, 2
KINDS = {"single": 2, "few": 4, "crowd": 3, "collage": 3, "text": 2, "pile": 1, "empty": 0.2}
_LABELS = 6  # of a picture, in a batch
_NONE = -1  # a patch that shows nothing, or a place that no thing fills
_OFF_CENTRE = 0.3  # cost of a patch, by its squared distance in patches from the middle of the thing


def model_for(tokens: CLIPTokenizer) -> OwlViTForObjectDetection:
    """Untrained. Scores start low: of 64 patches and more labels than that few belong together."""
    numbers = {"bos_token_id": tokens.bos_token_id, "eos_token_id": tokens.eos_token_id, "pad_token_id": 0}
    text = {
        "vocab_size": len(tokens), "hidden_size": TEXT_WIDTH, "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": TEXT_LAYERS, "num_attention_heads": 4, "max_position_embeddings": TEXT_LENGTH, **numbers,
    }  # fmt: skip
    shared = ("hidden_size", "intermediate_size", "num_attention_heads", "image_size", "patch_size", "hidden_act")
    as_theirs = vision_config(head=False).to_dict()
    vision = {"num_hidden_layers": LAYERS, "layer_norm_eps": 1e-6} | {name: as_theirs[name] for name in shared}
    model = OwlViTForObjectDetection(OwlViTConfig(text_config=text, vision_config=vision, projection_dim=TEXT_WIDTH))
    for layer in (*model.class_head.modules(), *model.box_head.modules()):
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()  # transformers starts them fifty times as large as everything else
    with torch.no_grad():
        for head, bias in ((model.class_head.logit_scale, 10.0), (model.class_head.logit_shift, -0.45)):
            head.weight.mul_(0.1)
            head.bias.fill_(bias)
    return model


@torch.no_grad()
def see_like_picturebook(model: OwlViTForObjectDetection, pictures: Tensor) -> None:
    """Start from the first layers of picturebook-dual's encoder: they know colours, shapes and where their edges are.

    OWL-ViT has a class token and a layer norm in front that SigLIP has not. The token starts as the mean of patches of
    ``pictures`` [B, 3, side, side], the norm with the scale that these have.
    """
    theirs = SiglipModel.from_pretrained(BUILTIN / "picturebook-dual", dtype=torch.float32).vision_model
    ours = model.owlvit.vision_model
    ours.encoder.layers.load_state_dict(theirs.encoder.layers[:LAYERS].state_dict())
    ours.embeddings.patch_embedding.weight.copy_(theirs.embeddings.patch_embedding.weight)
    places = theirs.embeddings.position_embedding.weight + theirs.embeddings.patch_embedding.bias  # it has no bias
    ours.embeddings.position_embedding.weight.copy_(torch.cat([torch.zeros_like(places[:1]), places]))
    seen = theirs.embeddings(pictures)  # [B, P, D]
    ours.embeddings.class_embedding.copy_(seen.mean((0, 1)))
    ours.pre_layernorm.weight.fill_(float(seen.std(-1).mean()))
    ours.pre_layernorm.bias.fill_(float(seen.mean()))


def image_processor() -> OwlViTImageProcessor:
    return OwlViTImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


class BoxExamples(Dataset[dict[str, Any]]):
    """Pictures, what is in them, and labels that fit some of it."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"boxes-{self.seed}-{index}")
        scene = sample_scene(rng, rng.choices(list(KINDS), list(KINDS.values()))[0])
        things = things_in(scene)
        pixels = pixels_of(draw(scene, rng), SIDE_PX)
        phrases = sample_phrases(rng, things, _LABELS)
        return {"pixels": pixels, "things": things, "shown": shown_at(scene, things), "phrases": phrases}


def shown_at(scene: Scene, things: tuple[Thing, ...]) -> Tensor:
    """Which thing the middle of each patch shows: int64 [P], -1 for none."""
    image = owners(scene, 4 * GRID, 4 * GRID)
    canvas = ImageDraw.Draw(image)
    for number, thing in enumerate(things[len(scene.items) :], start=len(scene.items) + 1):
        left, top, right, bottom = (v * 4 * GRID for v in thing.box)
        canvas.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=number)
    return torch.from_numpy(np.asarray(image)[2::4, 2::4].astype(np.int64).ravel()) - 1


def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack; every label of the batch is held against every thing of it."""
    phrases: list[Phrase] = list({p.text: p for e in examples for p in e["phrases"]}.values())
    most = max(1, *(len(e["things"]) for e in examples))
    boxes = torch.full((len(examples), most, 4), float(_NONE))  # [B, N, 4]: left, top, right, bottom
    fits = torch.zeros(len(examples), most, len(phrases))  # [B, N, M]
    for row, example in enumerate(examples):
        for at, thing in enumerate(example["things"]):
            boxes[row, at] = torch.tensor(thing.box).clamp(0, 1)
            fits[row, at] = torch.tensor([float(phrase.fits(thing)) for phrase in phrases])
    return {
        "pixels": torch.stack([e["pixels"] for e in examples]), "shown": torch.stack([e["shown"] for e in examples]),
        "boxes": boxes, "fits": fits, "texts": [phrase.text for phrase in phrases],
    }  # fmt: skip


class BoxStage(Stage):
    """One patch answers for each thing, with its box and its labels.

    Beside that, every patch that shows a thing says where its edges are, and a read-out that is thrown away afterwards
    says which labels fit what lies under each patch: dozens of patches teach more than the few that answer.
    """

    with_muon = False
    middles: Tensor  # [P, 2], of the patches, in fractions of the picture

    def __init__(self, tokens: CLIPTokenizer) -> None:
        super().__init__()
        self.tokens = tokens
        self.model = model_for(tokens)
        self.under = nn.Linear(WIDTH, TEXT_WIDTH)
        middle = (torch.arange(GRID) + 0.5) / GRID
        rows, columns = torch.meshgrid(middle, middle, indexing="ij")
        self.register_buffer("middles", torch.stack([columns, rows], dim=-1).flatten(0, 1), persistent=False)

    def losses(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        patches = self.model.image_embedder(normalised(batch["pixels"]))[0].flatten(1, 2)  # [B, P, D]
        texts = self._texts(batch["texts"], patches.device)  # [M, D of texts]
        logits, _ = self.model.class_predictor(patches, texts.expand(len(patches), -1, -1))  # [B, P, M]
        places = self.model.box_head(patches) + self.model.box_bias  # [B, P, 4], before the sigmoid
        boxes, fits = batch["boxes"], batch["fits"]
        with torch.no_grad():
            answering = self.assign(logits.sigmoid(), corners(places.sigmoid()), boxes, fits)  # [B, P]
        said = focal(logits, _at(fits, answering))
        under = nn.functional.normalize(self.under(patches), dim=-1) @ texts.T * 11 - 5  # [B, P, M]
        shown = focal(under, _at(fits, batch["shown"]))
        exact, exact_iou = box_loss(places, boxes, answering)
        edges, _ = box_loss(places, boxes, batch["shown"])
        figures = {"said": said.item(), "shown": shown.item(), "exact": exact.item(), "iou": exact_iou.item()}
        return said + shown + exact + edges, figures

    def _texts(self, texts: list[str], device: torch.device) -> Tensor:
        read = self.tokens(texts, padding=True, truncation=True, max_length=TEXT_LENGTH, return_tensors="pt").to(device)
        said = self.model.owlvit.get_text_features(**read).pooler_output
        return nn.functional.normalize(said, dim=-1)

    def assign(self, scores: Tensor, found: Tensor, boxes: Tensor, fits: Tensor) -> Tensor:
        """The thing that each patch answers for: int64 [B, P], -1 for none.

        Of the patches around its middle a thing gets the one that does best already, by its labels (``scores``
        [B, P, M]) and its box (``found`` [B, P, 4]): so the model itself settles who answers for what lies between.
        """
        there = boxes[..., 0] != _NONE  # [B, N]
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2  # [B, N, 2]
        off = (middle[:, :, None] - self.middles).mul(GRID)  # [B, N, P, 2], in patches
        near = off.abs().amax(-1) < 1.0
        named = torch.einsum("bpm,bnm->bnp", scores, fits) / fits.sum(-1, keepdim=True).clamp(min=1)  # [B, N, P]
        merit = named + generalised_iou(found[:, None], boxes[:, :, None]) - _OFF_CENTRE * off.square().sum(-1)
        best = merit.masked_fill(~near, -torch.inf).argmax(-1)  # [B, N]
        answering = torch.full(scores.shape[:2], _NONE, device=scores.device)
        rows, things = there.nonzero(as_tuple=True)
        answering[rows, best[rows, things]] = things
        return answering


def _at(values: Tensor, which: Tensor) -> Tensor:
    """``values`` [B, N, ...] of the thing named at each patch [B, P], zero where none is: [B, P, ...]."""
    picked = values.gather(1, which.clamp(min=0)[..., None].expand(-1, -1, values.shape[-1]))
    return picked * (which >= 0)[..., None]


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid loss with less weight on what is right already (arXiv 1708.02002), a label that fits."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    wrong = 1 - torch.where(targets > 0.5, logits, -logits).sigmoid().detach()
    return (each * wrong).sum() / targets.sum().clamp(min=1)


def box_loss(places: Tensor, boxes: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of the boxes at patches that answer, and their mean overlap.

    The first part compares before the sigmoid: at the picture's edges OWL-ViT's bias would leave no gradient behind it,
    and sizes are compared by their ratio.
    """
    rows, patches = (which >= 0).nonzero(as_tuple=True)
    if not len(rows):
        return places.sum() * 0, places.new_zeros(())
    wanted, given = boxes[rows, which[rows, patches]], places[rows, patches]  # [matched, 4]
    as_centre = torch.cat([(wanted[:, :2] + wanted[:, 2:]) / 2, wanted[:, 2:] - wanted[:, :2]], dim=-1)
    off = (given - as_centre.clamp(0.01, 0.99).logit()).abs().mean()
    overlap = generalised_iou(corners(given.sigmoid()), wanted).mean()
    return off + 1 - overlap, overlap.detach()


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Of boxes by their corners (arXiv 1902.09630); broadcasts."""
    starts, ends = (a[..., :2], b[..., :2]), (a[..., 2:], b[..., 2:])
    both = areas(torch.cat([torch.maximum(*starts), torch.minimum(*ends)], dim=-1))
    around = areas(torch.cat([torch.minimum(*starts), torch.maximum(*ends)], dim=-1)).clamp(min=1e-6)
    union = (areas(a) + areas(b) - both).clamp(min=1e-6)
    return both / union - (around - union) / around


def first_pictures(count: int = 200) -> Tensor:
    """Pictures to measure before learning begins: [count, 3, side, side], -1..1."""
    examples = BoxExamples(0, count)
    return normalised(torch.stack([examples[i]["pixels"] for i in range(count)]))
