"""Detectors find what transformers' own forward and post-processing find."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps

from tests import tiny
from tests.models.test_boxes import plainly_distinct
from vlmcli.errors import ContextOverflow, InputError, NumericalError, UsageError
from vlmcli.inputs.image import load_image
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.models.load import load
from vlmcli.tasks.detect import detect

LABELS = ["a cat", "two dogs", "A red circle"]
TOLERANCE = 1e-4
OWLS = ("owlvit", "owlv2")


def exif_rotated() -> Image.Image:
    """A picture that lies on its side in its file, and says so."""
    stored = io.BytesIO()
    picture = tiny.picture(3, (70, 40))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(stored, "PNG", exif=exif)
    return Image.open(stored)


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "square": lambda: tiny.picture(1, (64, 64)),
    "wide": lambda: tiny.picture(2, (150, 50)),
    "tall": lambda: tiny.picture(4, (40, 130)),
    "EXIF-rotated": exif_rotated,
    "tiny": lambda: tiny.picture(5, (3, 2)),
}


def theirs(detector: Any, image: Image.Image, threshold: float) -> dict[str, Any]:
    """transformers' processor, forward and post-processing, as its documentation has them."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    words = [label.lower() for label in LABELS] if "Dino" in type(detector.processor).__name__ else LABELS
    inputs = detector.processor(images=upright, text=[words], return_tensors="pt")
    with torch.no_grad():
        output = detector.model(**inputs)
    (result,) = detector.processor.post_process_grounded_object_detection(
        output, threshold=threshold, target_sizes=[(upright.height, upright.width)], text_labels=[LABELS]
    )
    return dict(result)


def compare(boxes: Any, scores: Any, wanted: dict[str, Any]) -> None:
    """Both in the order of the scores: post-processing does not sort them."""
    order = wanted["scores"].argsort(descending=True)
    assert len(boxes) == len(order), "another number of boxes: the threshold, or non-maximum suppression"
    assert (torch.as_tensor(scores) - wanted["scores"][order]).abs().max() <= TOLERANCE, "scores differ"
    assert (torch.as_tensor(boxes) - wanted["boxes"][order]).abs().max() <= TOLERANCE, "boxes differ: whose frame?"


def batched_nms(boxes: Any, scores: Any, labels: Any, iou: float) -> torch.Tensor:
    """torchvision's, whose compiled half is not beside every torch."""
    return torch.tensor(plainly_distinct(boxes.tolist(), scores.tolist(), labels.tolist(), iou), dtype=torch.long)


@pytest.mark.parametrize("picture", list(PICTURES))
@pytest.mark.parametrize("family", list(tiny.DETECTORS))
def test_boxes_and_scores_are_transformers_own(
    model: Any, family: str, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if family == "omdet_turbo":
        monkeypatch.setattr("transformers.models.omdet_turbo.processing_omdet_turbo.batched_nms", batched_nms)
    detector, image = model(family), PICTURES[picture]()
    threshold = 0.01 if family == "mm_grounding_dino" else 0.05
    wanted = theirs(detector, image, threshold)
    made = detector.detect(load_image(image).pixels, LABELS)
    if family == "omdet_turbo":  # whose own suppression and clipping come later here
        result = detect(detector, [load_image(image)], LABELS, threshold=threshold)
        compare([found.box for found in result.found[0]], [found.score for found in result.found[0]], wanted)
        return
    keep = made.scores > threshold
    order = made.scores[keep].argsort(descending=True)
    compare(made.boxes[keep][order], made.scores[keep][order], wanted)
    assert len(order) > 1, "the tiny model finds nothing: the test compares nothing"


@pytest.mark.parametrize("family", OWLS)
def test_labels_are_transformers_own(model: Any, family: str) -> None:
    met: set[str] = set()
    for seed in range(6):
        wanted = theirs(model(family), tiny.picture(seed, (90, 64)), 0.0)
        made = model(family).detect(tiny.picture(seed, (90, 64)), LABELS)
        ours = [LABELS[i] for i in made.labels[made.scores > 0].tolist()]
        assert ours == wanted["text_labels"]
        met |= set(ours)
    assert len(met) > 1


@pytest.mark.parametrize("family", list(tiny.DETECTORS))
def test_defaults_are_transformers_own(model: Any, family: str) -> None:
    """The threshold (and OmDet's overlap) that its post-processing has where nobody says otherwise."""
    import inspect

    detector = model(family)
    theirs = inspect.signature(detector.processor.post_process_grounded_object_detection).parameters
    made = detector.detect(tiny.picture(), ["a cat"])
    assert made.habits.threshold == theirs["threshold"].default
    assert made.habits.nms == (theirs["nms_threshold"].default if "nms_threshold" in theirs else None)


@pytest.mark.parametrize("family", OWLS)
@pytest.mark.parametrize("picture", ["square", "wide", "tall"])
def test_detection_by_example_is_transformers_own(model: Any, family: str, picture: str) -> None:
    """Its post-processing tells scores as parts of the best one, which is always 1: ours are those behind them."""
    detector, image, example = model(family), PICTURES[picture](), tiny.picture(7, (30, 30))
    inputs = detector.processor(images=image, query_images=example, return_tensors="pt")
    with torch.no_grad():
        output = detector.model.image_guided_detection(**inputs)
    (wanted,) = detector.processor.post_process_image_guided_detection(
        output, threshold=0.0, nms_threshold=0.3, target_sizes=torch.tensor([image.size[::-1]])
    )
    made = detector.detect_like(image, example)
    kept = plainly_distinct(made.boxes.tolist(), made.scores.tolist(), [0] * len(made.scores), 0.3)
    scores, best = made.scores[kept], made.scores.max() + 1e-6
    relative = ((scores - 0.1 * best) / (0.9 * best)).clip(0, 1)
    shown = relative > 0
    compare(made.boxes[kept][shown], relative[shown], wanted)
    assert made.habits.nms == 0.3


def test_only_owls_take_examples(model: Any) -> None:
    with pytest.raises(UsageError, match="words only"):
        model("grounding_dino").detect_like(tiny.picture(), tiny.picture())


def patchwork(folder: Any) -> Any:
    """An OWLv2 each of whose patches sees itself alone, and whose boxes are a patch large, where the patch ends."""
    detector = load(folder, device="cpu")
    vision = detector.model.owlv2.vision_model  # type: ignore[union-attr]
    vision.embeddings.position_embedding.weight.data.zero_()
    for layer in vision.encoder.layers:
        for output in (layer.self_attn.out_proj, layer.mlp.fc2):
            output.weight.data.zero_()
            output.bias.data.zero_()
    head = detector.model.box_head.dense2  # type: ignore[union-attr]
    head.weight.data.zero_()
    head.bias.data.zero_()
    return detector


@pytest.mark.parametrize(("size", "column", "row"), [((64, 32), 2, 0), ((64, 32), 0, 1), ((32, 64), 1, 3)])
def test_the_padding_of_owlv2_is_undone(checkpoint: Any, size: tuple[int, int], column: int, row: int) -> None:
    """One patch of an image is white, and only the box there has another score: it lies where the white is.

    The longer side has 64 pixels and four patches, whatever the shorter one has: of 16 x 16 pixels each.
    """
    detector = patchwork(checkpoint("owlv2"))
    image = Image.new("RGB", size, "black")
    left, top = 16 * column, 16 * row
    image.paste("white", (left, top, left + 16, top + 16))
    made = detector.detect(image, ["a cat"])
    blank = detector.detect(Image.new("RGB", size, "black"), ["a cat"])
    changed = (made.scores - blank.scores).abs()
    assert (changed > 1e-3).sum() == 1
    x0, y0, x1, y1 = made.boxes[changed.argmax()].tolist()
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    assert centre == (pytest.approx(left + 16, abs=0.1), pytest.approx(top + 16, abs=0.1)), "its lower right corner"
    assert (x1 - x0, y1 - y0) == (pytest.approx(16, abs=0.1), pytest.approx(16, abs=0.1))


def test_what_lies_in_the_padding_is_left_out(checkpoint: Any) -> None:
    detector = patchwork(checkpoint("owlv2"))
    image = load_image(Image.new("RGB", (160, 40), "black"))
    assert len(detector.detect(image.pixels, ["a cat"]).boxes) == 16
    found = detect(detector, [image], ["a cat"], threshold=0.0).found[0]
    assert len(found) == 4 and all(detection.box[1] < 40 for detection in found)


def test_one_label_a_box_of_a_joined_text(model: Any) -> None:
    """The label of a box is the one whose own tokens score best; it keeps its capitals."""
    detector = model("grounding_dino")
    result = detect(detector, [load_image(tiny.picture(1, (90, 64)))], LABELS, threshold=0.0)
    assert {found.label for found in result.found[0]} <= set(LABELS)
    alone = detect(detector, [load_image(tiny.picture(1, (90, 64)))], ["A red circle"], threshold=0.0)
    assert {found.label for found in alone.found[0]} == {"A red circle"}


def test_tokens_belong_to_their_label(model: Any) -> None:
    from vlmcli.models.grounding import joined

    text, spans = joined(["A cat ", "two dogs."])
    assert text == "a cat. two dogs."
    assert [text[start:end] for start, end in spans] == ["a cat", "two dogs"]


@pytest.mark.parametrize("label", ["St. Bernard", "what? that", " . "])
def test_a_full_stop_ends_a_label(model: Any, label: str) -> None:
    with pytest.raises(InputError, match="full stop"):
        model("grounding_dino").detect(tiny.picture(), [label])


@pytest.mark.parametrize("family", list(tiny.DETECTORS))
def test_a_label_is_never_cut_off(model: Any, family: str) -> None:
    with pytest.raises(ContextOverflow, match=r"16|64|77"):
        model(family).detect(tiny.picture(), ["cat dog " * 60])


@pytest.mark.parametrize("family", OWLS)
def test_an_image_is_encoded_once(checkpoint: Any, family: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    detector: Any = load(checkpoint(family), device="cpu", features=FeatureFiles(tmp_path))
    encodings = []
    encoder = detector.model.image_embedder
    monkeypatch.setattr(detector.model, "image_embedder", lambda pixels: encodings.append(1) or encoder(pixels))
    first = detector.detect(tiny.picture(), LABELS)
    second = detector.detect(tiny.picture(), ["a house"])
    third = detector.detect_like(tiny.picture(), tiny.picture())
    assert len(encodings) == 1
    assert [made.cached for made in (first, second, third)] == [False, True, True]
    plain: Any = load(checkpoint(family), device="cpu")
    assert torch.equal(plain.detect(tiny.picture(), ["a house"]).scores, second.scores)


def test_bfloat16(checkpoint: Any) -> None:
    for family in tiny.DETECTORS:
        if family == "omdet_turbo":
            continue
        half: Any = load(checkpoint(family), device="cpu", dtype="bfloat16")
        assert half.detect(tiny.picture(), LABELS).scores.dtype == torch.float32


def test_nan_is_an_error(folder_of: Any, checkpoint: Any) -> None:
    from dataclasses import replace

    folder = folder_of("owlvit")
    detector: Any = load(replace(checkpoint("owlvit"), folder=folder), device="cpu")
    detector.model.box_head.dense2.bias.data.fill_(float("nan"))
    with pytest.raises(NumericalError):
        detector.detect(tiny.picture(), ["a cat"])
    with pytest.raises(NumericalError):
        detector.detect_like(tiny.picture(), tiny.picture())
