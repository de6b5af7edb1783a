"""Detections as a table, an object and lines; and what is said where there are none."""

from __future__ import annotations

import io

from tests.render import values
from vlmcli.render.forms.detect import FORM, detect_tables, detections_object
from vlmcli.render.notes import Notes
from vlmcli.render.table import table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def test_the_best_first_with_its_corners() -> None:
    (table,) = detect_tables(values.detections(values.CAT, values.DOG), PLAIN)
    assert [line.split()[-5:] for line in table_lines(table, PLAIN)] == [
        ["score", "x0", "y0", "x1", "y1"],
        ["0.7500", "10.0", "20.0", "40.2", "50.0"],
        ["0.5000", "-3.5", "5.0", "30.0", "64.0"],
    ]


def test_images_are_named_where_there_are_several() -> None:
    (table,) = detect_tables(values.detections(values.CAT, images=2), PLAIN)
    assert table_lines(table, PLAIN)[0] == "image0.png"


def test_the_object_has_a_flat_list() -> None:
    made = detections_object(values.detections(values.CAT, values.DOG, images=2))
    assert made["detections"][0] == {
        "image": "image0.png",
        "label": "a cat",
        "score": 0.75,
        "box": [10.0, 20.0, 40.25, 50.0],
    }
    assert (made["labels"], made["threshold"], made["nms"]) == (["a cat", "a [bold]dog"], 0.1, None)
    assert [image["source"] for image in made["images"]] == ["image0.png", "image1.png"]


def test_events() -> None:
    kinds = [kind for kind, _ in FORM.events(values.detections(values.CAT, values.DOG))]
    assert kinds == ["start", "detection", "detection", "done"]


def test_nothing_found_is_said() -> None:
    result = values.detections()
    assert detect_tables(result, PLAIN) == [] and detections_object(result)["detections"] == []
    told = io.StringIO()
    FORM.after(Notes(told), result)
    assert told.getvalue() == "nothing scores above 0.1 in image0.png: a lower --threshold shows more\n"
