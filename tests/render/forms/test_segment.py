"""Masks as a table, an object and lines."""

from __future__ import annotations

import io

from tests.render import values
from vlmcli.render.forms.segment import FORM, segment_tables, segmentation_object
from vlmcli.render.notes import Notes
from vlmcli.render.table import table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()
MASK = values.mask("......", ".##...", ".##...", "......")
CAT = values.mask("......", ".##...", ".##...", "......", label="a [bold]cat", score=0.5)


def test_a_mask_a_row() -> None:
    (table,) = segment_tables(values.segmentation(MASK), PLAIN)
    assert table_lines(table, PLAIN)[1].split() == ["1", "4", "16.67%", "0.9000", "0.9500", "1", "1", "3", "3"]


def test_labels_where_a_detector_gave_some() -> None:
    (table,) = segment_tables(values.segmentation(CAT), PLAIN)
    assert table_lines(table, PLAIN)[1].split()[:4] == ["1", "a", "[bold]cat", "0.5000"]


def test_the_object() -> None:
    made = segmentation_object(values.segmentation(CAT, detector=values.MODEL))
    assert made["detector"]["id"] == "tiny"
    assert made["masks"] == [
        {
            "label": "a [bold]cat",
            "score": 0.5,
            "box": [1.0, 1.0, 3.0, 3.0],
            "area": 4,
            "predicted_iou": 0.9,
            "stability": 0.95,
            "rle": {"size": [4, 6], "counts": CAT.rle.counts},
        }
    ]
    assert segmentation_object(values.segmentation(MASK))["detector"] is None


def test_events() -> None:
    assert [kind for kind, _ in FORM.events(values.segmentation(MASK, CAT))] == ["start", "mask", "mask", "done"]


def test_nothing_and_empty_masks_are_said() -> None:
    for result, message in (
        (values.segmentation(), "no mask"),
        (values.segmentation(values.mask("......", "......")), "mask 1 is empty"),
    ):
        told = io.StringIO()
        FORM.after(Notes(told), result)
        assert message in told.getvalue()
