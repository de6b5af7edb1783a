"""Segmenters draw the masks that transformers' own processors, forward and post-processing draw."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf
from PIL import Image, ImageOps

from tests import tiny
from tests.models.test_boxes import plainly_distinct
from tests.models.test_detector import PICTURES
from vlmcli.errors import ImageError, InputError, ModelError, NumericalError, UsageError
from vlmcli.inputs.image import LoadedImage, load_image
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.models.load import load
from vlmcli.models.segmenter import Segmenter, bounds, encoded
from vlmcli.tasks.segment import everything, segment
from vlmcli.types.segment import Prompt, Rle

TOLERANCE = 1e-4
FAMILIES = [family for family in tiny.SEGMENTERS if family != "sam2_video"]  # of which only the loading is another


def theirs(
    folder: Any, segmenter: Any, image: Image.Image, several: bool, processor: Any = None, **prompts: Any
) -> tuple[Any, Any]:
    """Masks' logits [n, m, H, W] and their IoUs [n, m], as transformers' documentation has it."""
    processor = processor or hf.AutoProcessor.from_pretrained(folder)
    upright = ImageOps.exif_transpose(image).convert("RGB")
    inputs = processor(images=upright, return_tensors="pt", **prompts)
    with torch.no_grad():
        floats = {k: v.float() if v.is_floating_point() else v for k, v in inputs.items() if "sizes" not in k}
        output = segmenter.model(**floats, multimask_output=several)
    sizes = {k: inputs[k] for k in ("original_sizes", "reshaped_input_sizes") if k in inputs}
    (masks,) = processor.post_process_masks(output.pred_masks, **sizes, binarize=False)
    return masks, output.iou_scores[0]


def spot(size: tuple[int, int], across: float, down: float) -> tuple[float, float]:
    """A pixel at a part of an image's width and height."""
    return float(int(size[0] * across)), float(int(size[1] * down))


def compare(mask: Any, logits: torch.Tensor, iou: torch.Tensor) -> None:
    """A mask of ours with one of theirs [H, W]: pixels on the edge, whose logits are 0 within rounding, may differ."""
    pixels = decoded(mask.rle)
    assert pixels.shape == logits.shape
    assert ((pixels == (logits > 0)) | (logits.abs() < TOLERANCE)).all(), "another mask"
    assert abs(mask.iou - float(iou)) <= TOLERANCE
    assert mask.area == int(pixels.sum()) and mask.box == bounds(pixels)


def decoded(rle: Rle) -> torch.Tensor:
    """Runs -> pixels [H, W]."""
    inside = torch.cat([torch.full((run,), i % 2 == 1) for i, run in enumerate(rle.runs())])
    return inside.reshape(rle.size[::-1]).t()


@pytest.mark.parametrize("picture", list(PICTURES))
@pytest.mark.parametrize("family", FAMILIES)
def test_one_point_has_the_best_of_three_masks(checkpoint: Any, model: Any, family: str, picture: str) -> None:
    image = load_image(PICTURES[picture]())
    x, y = spot(image.pixels.size, 0.6, 0.4)
    (mask,) = segment(model(family), image, [Prompt(points=((x, y),))]).masks
    logits, ious = theirs(
        checkpoint(family).folder, model(family), PICTURES[picture](), True, input_points=[[[[x, y]]]],
        input_labels=[[[1]]],
    )  # fmt: skip
    best = int(ious[0].argmax())
    compare(mask, logits[0, best], ious[0, best])
    strict, loose = (logits[0, best] > 1).sum(), (logits[0, best] > -1).sum()
    assert mask.stability == pytest.approx(float(strict / loose) if loose else 0.0, abs=0.02)


def test_a_published_tracker_draws_as_its_image_half(checkpoint: Any, model: Any) -> None:
    """SAM 2's checkpoints are those of the tracker; transformers' image classes, asked for by name, read them too."""
    image = load_image(tiny.picture(2, (150, 50)))
    (mask,) = segment(model("sam2_video"), image, [Prompt(points=((90.0, 20.0),))]).masks
    half = SimpleNamespace(model=hf.Sam2Model.from_pretrained(checkpoint("sam2_video").folder).eval())
    processor = hf.Sam2Processor(model("sam2").processor)
    logits, ious = theirs(
        None, half, image.pixels, True, processor, input_points=[[[[90.0, 20.0]]]], input_labels=[[[1]]]
    )
    best = int(ious[0].argmax())
    compare(mask, logits[0, best], ious[0, best])


@pytest.mark.parametrize("picture", list(PICTURES))
@pytest.mark.parametrize("family", FAMILIES)
def test_points_and_a_box_have_one_mask(checkpoint: Any, model: Any, family: str, picture: str) -> None:
    image = load_image(PICTURES[picture]())
    size = image.pixels.size
    inside, outside, box = spot(size, 0.6, 0.4), spot(size, 0.1, 0.9), (*spot(size, 0.2, 0.1), *size)
    (mask,) = segment(model(family), image, [Prompt((inside,), (outside,), box)]).masks
    logits, ious = theirs(
        checkpoint(family).folder, model(family), PICTURES[picture](), False,
        input_points=[[[[*inside], [*outside]]]], input_labels=[[[1, 0]]], input_boxes=[[[*box]]],
    )  # fmt: skip
    compare(mask, logits[0, 0], ious[0, 0])


@pytest.mark.parametrize("family", ["sam", "sam_hq"])
def test_relative_places_are_transformers_own_and_are_not_copied(checkpoint: Any, model: Any, family: str) -> None:
    published = hf.AutoModelForMaskGeneration.from_pretrained(checkpoint(family).folder).eval()
    ours, original = (part.vision_encoder.layers[0].attn for part in (model(family).model, published))
    size = (4, 4)
    query = torch.randn(6, 16, original.rel_pos_h.shape[1], generator=torch.Generator().manual_seed(0))
    assert original.rel_pos_h.abs().max() > 0.01
    with torch.no_grad():
        bias = ours.get_decomposed_rel_pos(query, ours.rel_pos_h, ours.rel_pos_w, size, size)
        expected = original.get_decomposed_rel_pos(query, original.rel_pos_h, original.rel_pos_w, size, size)
    assert torch.allclose(bias, expected, atol=1e-6) and bias.is_contiguous()
    assert not expected.is_contiguous(), "transformers needs no help any more"


@pytest.mark.parametrize("family", FAMILIES)
def test_several_boxes_have_a_mask_each(checkpoint: Any, model: Any, family: str) -> None:
    image = tiny.picture(2, (150, 50))
    boxes = [(10.0 * i, 5.0, 10.0 * i + 40, 45.0) for i in range(10)]
    made = segment(model(family), load_image(image), [Prompt(box=box) for box in boxes])
    logits, ious = theirs(
        checkpoint(family).folder, model(family), image, False, input_boxes=[[list(box) for box in boxes]]
    )
    assert len(made.masks) == 10
    for i, mask in enumerate(made.masks):
        compare(mask, logits[i, 0], ious[i, 0])
    assert len({mask.rle.counts for mask in made.masks}) > 1, "the tiny model ignores its prompts"


@pytest.mark.parametrize("nms", [0.9, 1.0])
@pytest.mark.parametrize("size", [(64, 64), (90, 50), (50, 90)])
@pytest.mark.parametrize("family", FAMILIES)
def test_everything_is_what_the_pipeline_finds(
    model: Any, family: str, size: tuple[int, int], nms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline mask-generation, with the suppression that torchvision's compiled half would do.

    It places its points as SAM does, which keeps an image's shape. SAM 2 makes a square of it, and of an image that is
    none the pipeline's grid then covers a part alone: there its points are no reference.
    """
    from transformers import pipeline

    if family == "sam2" and size != (64, 64):
        return

    def batched_nms(boxes: Any, scores: Any, idxs: Any, iou_threshold: float) -> torch.Tensor:
        kept = plainly_distinct(boxes.tolist(), scores.tolist(), [0] * len(boxes), iou_threshold)
        return torch.tensor(kept, dtype=torch.long)

    segmenter, image = model(family), tiny.picture(1, size)
    module = __import__(type(segmenter.processor).__module__, fromlist=["batched_nms"])
    monkeypatch.setattr(module, "batched_nms", batched_nms)
    stable = 0.05 if family == "sam" else 0.3  # about half of the tiny model's masks are
    limits = {"pred_iou_thresh": 0.05, "stability_score_thresh": stable, "crops_nms_thresh": nms}
    pipe = pipeline("mask-generation", model=segmenter.model, image_processor=segmenter.processor, device="cpu")
    wanted = pipe(image, points_per_crop=6, points_per_batch=9, **limits)
    made = everything(segmenter, load_image(image), grid=6, min_iou=0.05, min_stability=stable, nms=nms)
    assert len(made.masks) == len(wanted["masks"])
    assert nms < 1 or 10 < len(made.masks) < 108, "nothing is filtered, or everything: the test compares little"
    assert [mask.iou for mask in made.masks] == pytest.approx(wanted["scores"].tolist(), abs=TOLERANCE)
    for mask, pixels in zip(made.masks, wanted["masks"], strict=True):
        assert (decoded(mask.rle) != torch.as_tensor(pixels)).sum() <= 2  # on the edge, within rounding


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_is_each_point_of_the_grid(model: Any, family: str) -> None:
    """In the middle of each quarter, wide as the image may be: among all masks is the one that the point has alone."""
    image = load_image(tiny.picture(2, (150, 50)))
    masks = everything(model(family), image, grid=2, min_iou=0.0, min_stability=0.0, nms=1.0).masks
    assert len(masks) == 4 * 3
    for point in ((37.5, 12.5), (112.5, 12.5), (37.5, 37.5), (112.5, 37.5)):
        (alone,) = segment(model(family), image, [Prompt(points=(point,))]).masks
        assert any(abs(mask.iou - alone.iou) < TOLERANCE and abs(mask.area - alone.area) <= 2 for mask in masks)


@pytest.mark.parametrize("family", list(tiny.SEGMENTERS))
def test_an_image_is_encoded_once(checkpoint: Any, family: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For twenty points together, for twenty points one after the other, and in the next process."""
    image = load_image(tiny.picture())
    points = [Prompt(points=((float(i), float(i)),)) for i in range(20)]
    files = FeatureFiles(tmp_path)
    segmenter: Any = load(checkpoint(family), device="cpu", features=files)
    count = counted(monkeypatch, segmenter)
    together = segment(segmenter, image, points)
    assert (count(), together.image.cached) == (1, False)
    alone = [segment(segmenter, image, [point]) for point in points]
    assert count() == 1 and all(one.image.cached for one in alone)
    assert [one.masks[0].rle for one in alone] == [mask.rle for mask in together.masks]
    again: Any = load(checkpoint(family), device="cpu", features=files)
    count = counted(monkeypatch, again)
    assert segment(again, image, points).masks == together.masks
    assert count() == 0


def counted(monkeypatch: pytest.MonkeyPatch, segmenter: Any) -> Any:
    """How often the encoder ran from now on."""
    calls: list[int] = []
    encoder = segmenter.model.get_image_embeddings
    monkeypatch.setattr(segmenter.model, "get_image_embeddings", lambda pixels: calls.append(1) or encoder(pixels))
    return lambda: len(calls)


def test_without_a_cache_nothing_is_kept(model: Any) -> None:
    assert segment(model("sam"), load_image(tiny.picture()), [Prompt(points=((1.0, 1.0),))]).image.cached is None


IMAGE = LoadedImage(tiny.picture(0, (40, 32)), load_image(tiny.picture(0, (40, 32))).info)


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        (Prompt(points=((40.0, 5.0),)), InputError, "point 40,5 is outside"),
        (Prompt(points=((-1.0, 5.0),)), InputError, "outside"),
        (Prompt(points=((1.0, 1.0),), negative=((0.0, 32.0),)), InputError, "point 0,32 is outside"),
        (Prompt(box=(0.0, 0.0, 41.0, 10.0)), InputError, "reaches out"),
        (Prompt(box=(5.0, 5.0, 5.0, 10.0)), UsageError, "no area"),
        (Prompt(box=(9.0, 5.0, 5.0, 10.0)), UsageError, "no area"),
        (Prompt(negative=((1.0, 1.0),)), UsageError, "outside of a thing alone"),
        (Prompt(), UsageError, "alone"),
    ],
)
def test_prompts_that_point_at_nothing(model: Any, prompt: Prompt, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        segment(model("sam"), IMAGE, [prompt])


def test_no_prompt(model: Any) -> None:
    with pytest.raises(UsageError):
        segment(model("sam"), IMAGE, [])


def test_the_edges_of_an_image_are_in_it(model: Any) -> None:
    assert segment(model("sam"), IMAGE, [Prompt(points=((39.0, 31.0),), box=(0.0, 0.0, 40.0, 32.0))]).masks


def test_an_image_that_is_all_length(model: Any) -> None:
    """Its shorter side would have less than half a pixel."""
    with pytest.raises(ImageError, match="too narrow"):
        segment(model("sam"), load_image(Image.new("RGB", (2000, 1))), [Prompt(points=((1.0, 0.0),))])


def test_bfloat16(checkpoint: Any) -> None:
    for family in tiny.SEGMENTERS:
        half: Any = load(checkpoint(family), device="cpu", dtype="bfloat16")
        assert 0 <= segment(half, IMAGE, [Prompt(points=((5.0, 5.0),))]).masks[0].stability <= 1


def test_nan_is_an_error(checkpoint: Any) -> None:
    segmenter: Any = load(checkpoint("sam"), device="cpu")
    segmenter.model.mask_decoder.iou_token.weight.data.fill_(float("nan"))
    with pytest.raises(NumericalError):
        segment(segmenter, IMAGE, [Prompt(points=((5.0, 5.0),))])


def test_a_model_that_takes_no_points(model: Any) -> None:
    with pytest.raises(ModelError, match="no points"):
        Segmenter(model("vit").model, model("vit").processor, model("vit").info)


def test_an_empty_mask_has_no_box() -> None:
    empty = torch.zeros(4, 6, dtype=torch.bool)
    assert bounds(empty) == (0.0, 0.0, 0.0, 0.0)
    assert encoded(empty).runs() == [24]
