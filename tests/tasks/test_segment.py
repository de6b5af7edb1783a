"""From prompts, and from a detector's boxes, to masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests import tiny
from tests.render import values
from vlmcli.errors import UsageError
from vlmcli.inputs.image import load_image
from vlmcli.tasks.segment import PROMPTS_TOGETHER, everything, segment, segment_found
from vlmcli.types.detect import Detection
from vlmcli.types.segment import Prompt

IMAGE = load_image(tiny.picture(2, (90, 64)))


def boxes(*given: tuple[float, float, float, float]) -> tuple[Prompt, ...]:
    return tuple(Prompt(box=box) for box in given)


def test_a_prompt_has_the_same_mask_alone_and_among_others(model: Any) -> None:
    """Prompts of different shapes, more of them than go through the decoder together; masks in their order."""
    prompts = [
        *boxes(*((float(i), 0.0, float(i) + 40, 50.0) for i in range(PROMPTS_TOGETHER + 3))),
        Prompt(points=((5.0, 5.0),)),
        Prompt(points=((50.0, 30.0),), negative=((1.0, 1.0), (2.0, 60.0))),
        Prompt(points=((9.0, 9.0),)),
    ]
    together = segment(model("sam"), IMAGE, prompts).masks
    alone = [segment(model("sam"), IMAGE, [prompt]).masks[0] for prompt in prompts]
    assert len(together) == len(prompts)
    for one, other in zip(together, alone, strict=True):
        assert one.iou == pytest.approx(other.iou, abs=1e-4) and abs(one.area - other.area) <= 2
    assert len({mask.iou for mask in alone}) > 5


def test_a_detectors_boxes_are_filled(model: Any) -> None:
    """OWLSAM: what lies outside the image is cut off a box, and its label and score go with the mask."""
    found = (Detection("a cat", 0.75, (-5.0, 4.0, 40.0, 99.0)), Detection("a dog", 0.5, (30.0, 10.0, 80.0, 60.0)))
    detections = replace(values.detections(*found), images=(IMAGE.info,))
    result = segment_found(model("sam2"), IMAGE, detections)
    plain = segment(model("sam2"), IMAGE, boxes((0.0, 4.0, 40.0, 64.0), (30.0, 10.0, 80.0, 60.0)))
    assert [mask.rle for mask in result.masks] == [mask.rle for mask in plain.masks]
    assert [(mask.label, mask.score) for mask in result.masks] == [("a cat", 0.75), ("a dog", 0.5)]
    assert result.detector == values.MODEL and plain.detector is None


def test_nothing_found_is_nothing_to_encode(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(model("sam")), "encode", lambda *_: pytest.fail("encoded for nothing"))
    assert segment_found(model("sam"), IMAGE, values.detections()).masks == ()


def test_everything_without_masks_that_are_good_enough(model: Any) -> None:
    assert everything(model("sam"), IMAGE, grid=2, min_iou=1.0, min_stability=1.0).masks == ()


@pytest.mark.parametrize("options", [{"grid": 0}, {"min_iou": 2.0}, {"min_stability": -0.1}, {"nms": float("nan")}])
def test_limits_that_make_no_sense(model: Any, options: Any) -> None:
    with pytest.raises(UsageError):
        everything(model("sam"), IMAGE, **options)
