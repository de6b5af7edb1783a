"""Things found in images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import Event, as_lines, result_form
from vlmcli.render.html.sections import Content, Mark, Tabled
from vlmcli.render.notes import Notes
from vlmcli.render.objects import Object, clean, finite, result_object
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import share
from vlmcli.types.detect import Detection, Detections
from vlmcli.types.result import ImageInfo

CORNERS = tuple(Column(name, "right") for name in ("x0", "y0", "x1", "y1"))
"""The columns of a box."""


def detect_tables(result: Detections, terminal: Terminal) -> list[Table]:
    """One table an image that has something, the best score first; the image is named where there are several."""
    named = len(result.images) > 1
    columns = (Column("label"), Column("score", "right"), *CORNERS)
    return [
        Table(columns, tuple(map(_row, found)), one_line(image.source) if named else None)
        for image, found in zip(result.images, result.found, strict=True)
        if found
    ]


def _row(detection: Detection) -> tuple[str, ...]:
    return one_line(detection.label), share(detection.score), *(f"{value:.1f}" for value in detection.box)


def detections_object(result: Detections) -> Object:
    """What was found, image by image, beside what every result has."""
    return {
        **result_object(result.model, result.images, result.usage, result.timings_ms),
        "labels": [clean(label) for label in result.labels],
        "threshold": result.threshold,
        "nms": result.nms,
        "detections": [
            detection_object(image, detection)
            for image, found in zip(result.images, result.found, strict=True)
            for detection in found
        ],
    }


def detection_object(image: ImageInfo, detection: Detection) -> Object:
    """One thing; ``box`` is [x0, y0, x1, y1] in pixels of the upright image."""
    return {
        "image": clean(image.source),
        "label": clean(detection.label),
        "score": finite(detection.score),
        "box": [finite(value) for value in detection.box],
    }


def _events(result: Detections) -> Iterator[Event]:
    for image, found in zip(result.images, result.found, strict=True):
        for detection in found:
            yield "detection", detection_object(image, detection)


def _after(notes: Notes, result: Detections) -> None:
    for line in nothing_found(result):
        notes.note(line)


def nothing_found(result: Detections) -> Iterable[str]:
    """A line for each image in which nothing was found, with the way to more."""
    what = f"nothing scores above {result.threshold:g}"
    for image, found in zip(result.images, result.found, strict=True):
        if not found:
            yield f"{what} in {image.source}: a lower --threshold shows more"


def _page(result: Detections) -> Content:
    """The boxes on their pictures, and the table."""
    marks = tuple(
        Mark(detection.box, f"{detection.label} {share(detection.score)}", number)
        for number, found in enumerate(result.found)
        for detection in found
    )
    return Content((Tabled("Found", tuple(detect_tables(result, PAGE))),), marks=marks)


FORM = result_form(as_lines(detect_tables), detections_object, _events, _after, _page)
