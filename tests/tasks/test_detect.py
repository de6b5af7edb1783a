"""What of a detector's candidates is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from tests import tiny
from tests.models.test_boxes import overlap
from vlmcli.errors import UsageError
from vlmcli.inputs.image import LoadedImage, load_image
from vlmcli.models.detector import Candidates, Habits
from vlmcli.tasks.detect import detect

IMAGES = [load_image(tiny.picture(seed, (90, 64))) for seed in (1, 2)]
GREY = load_image(Image.new("RGB", (100, 50), "grey"))


class Given:
    """A detector whose candidates are given."""

    info = load_image(tiny.picture()).info

    def __init__(self, boxes: list[list[float]], scores: list[float], labels: list[int], habits: Habits) -> None:
        self.made = Candidates(
            torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels), habits, (64, 64), tokens=16
        )
        self.asked: list[Any] = []

    def detect(self, image: Any, labels: Any) -> Candidates:
        self.asked.append(labels)
        return self.made

    def detect_like(self, image: Any, example: Any) -> Candidates:
        self.asked.append(example)
        return self.made


def found(given: Given, **options: Any) -> list[tuple[str, float]]:
    """Labels and scores of what is told of one image."""
    (told,) = detect(given, [GREY], ["cat", "dog"], **options).found  # type: ignore[arg-type]
    return [(detection.label, round(detection.score, 2)) for detection in told]


SAME = [10.0, 10.0, 30.0, 30.0]
NEAR = [11.0, 11.0, 31.0, 31.0]
FAR = [60.0, 10.0, 90.0, 40.0]


def test_scores_above_the_threshold_the_best_first() -> None:
    given = Given([SAME, FAR, FAR], [0.2, 0.5, 0.1], [0, 1, 0], Habits(0.1))
    assert found(given) == [("dog", 0.5), ("cat", 0.2)], "what equals the threshold is not above it"
    assert found(given, threshold=0.0) == [("dog", 0.5), ("cat", 0.2), ("cat", 0.1)]
    assert found(given, threshold=0.3) == [("dog", 0.5)]
    assert found(given, top=1) == [("dog", 0.5)]
    assert found(given, threshold=0.9) == []


def test_suppression_is_by_label() -> None:
    given = Given([SAME, NEAR, NEAR, FAR], [0.9, 0.8, 0.7, 0.6], [0, 0, 1, 0], Habits(0.1))
    assert overlap(SAME, NEAR) > 0.8
    assert found(given) == [("cat", 0.9), ("cat", 0.8), ("dog", 0.7), ("cat", 0.6)]
    assert found(given, nms=0.5) == [("cat", 0.9), ("dog", 0.7), ("cat", 0.6)]
    assert found(given, nms=0.9) == found(given)


def test_a_familys_own_suppression_can_be_switched_off() -> None:
    given = Given([SAME, NEAR], [0.9, 0.8], [0, 0], Habits(0.1, nms=0.5))
    assert found(given) == [("cat", 0.9)] and len(found(given, nms=1.0)) == 2


def test_boxes_end_at_the_edges_where_the_family_has_it_so() -> None:
    wide = [-5.0, 10.0, 120.0, 60.0]
    for clips, box in ((False, tuple(wide)), (True, (0.0, 10.0, 100.0, 50.0))):
        given = Given([wide], [0.9], [0], Habits(0.1, clips=clips))
        assert detect(given, [GREY], ["cat"]).found[0][0].box == box  # type: ignore[arg-type]


def test_what_is_wholly_outside_is_left_out() -> None:
    given = Given([[10.0, 60.0, 30.0, 90.0], [10.0, 40.0, 30.0, 90.0]], [0.9, 0.8], [0, 0], Habits(0.1))
    assert found(given) == [("cat", 0.8)]


def test_labels_go_through_the_template_and_come_back_as_they_were() -> None:
    given = Given([SAME], [0.9], [1], Habits(0.1))
    result = detect(given, [GREY, GREY], ["cat", "dog"], template="a photo of a {}")  # type: ignore[arg-type]
    assert given.asked == [["a photo of a cat", "a photo of a dog"]] * 2
    assert result.labels == ("cat", "dog") and [len(one) for one in result.found] == [1, 1]
    assert result.usage.image_tokens == 32 and result.timings_ms["total"] >= 0


def test_an_example_is_named_after_its_file() -> None:
    given = Given([SAME], [0.9], [0], Habits(0.6, nms=0.3))
    result = detect(given, [GREY], example=IMAGES[0])  # type: ignore[arg-type]
    assert given.asked == [IMAGES[0].pixels]
    assert (result.labels, result.threshold, result.nms) == ((IMAGES[0].info.source,), 0.6, 0.3)


def test_several_images_each_by_itself(model: Any) -> None:
    together = detect(model("owlv2"), IMAGES, ["a cat", "a dog"], threshold=0.0)
    alone = [detect(model("owlv2"), [image], ["a cat", "a dog"], threshold=0.0).found[0] for image in IMAGES]
    assert list(together.found) == alone and alone[0] != alone[1]
    assert [image.resized for image in together.images] == [(64, 64)] * 2


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        ([], ["cat"], {}, "at least one image"),
        ([GREY], [], {}, "no label"),
        ([GREY], ["cat", " "], {}, "empty"),
        ([GREY], ["cat"], {"example": GREY}, "exclude each other"),
        ([GREY], ["cat"], {"template": "photo"}, "{}"),
        ([GREY], ["cat"], {"threshold": 1.5}, "threshold"),
        ([GREY], ["cat"], {"nms": float("nan")}, "nms"),
        ([GREY], ["cat"], {"top": 0}, "top"),
    ],
)
def test_what_makes_no_sense(images: list[LoadedImage], labels: list[str], options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        detect(Given([SAME], [0.9], [0], Habits(0.1)), images, labels, **options)  # type: ignore[arg-type]
