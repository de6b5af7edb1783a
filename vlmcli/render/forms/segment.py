"""Masks of things in an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vlmcli.render.coco import rle_object
from vlmcli.render.escape import one_line
from vlmcli.render.forms.detect import CORNERS
from vlmcli.render.forms.form import Event, Form, as_lines
from vlmcli.render.html.sections import Content, Mark, Run, Tabled
from vlmcli.render.notes import Notes
from vlmcli.render.objects import Object, clean, finite, model_object, result_object, start_object
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import percent, share
from vlmcli.types.segment import Mask, Segmentation


def segment_tables(result: Segmentation, terminal: Terminal) -> list[Table]:
    """One row a mask, in the order of what pointed at them."""
    if not result.masks:
        return []
    named = any(mask.label is not None for mask in result.masks)
    columns = (
        Column("mask", "right"),
        *((Column("label"), Column("score", "right")) if named else ()),
        Column("area", "right"),
        Column("of the image", "right"),
        Column("predicted IoU", "right"),
        Column("stability", "right"),
        *CORNERS,
    )
    width, height = result.image.original
    rows = tuple(_row(number, mask, named, width * height) for number, mask in enumerate(result.masks, start=1))
    return [Table(columns, rows)]


def _row(number: int, mask: Mask, named: bool, pixels: int) -> tuple[str, ...]:
    return (
        str(number),
        *((one_line(mask.label or ""), share(mask.score)) if named else ()),
        str(mask.area),
        percent(mask.area / pixels),
        share(mask.iou),
        share(mask.stability),
        *(f"{value:.0f}" for value in mask.box),
    )


def segmentation_object(result: Segmentation) -> Object:
    """The ``masks`` of one image, and the ``detector`` that led to them, beside what every result has."""
    return {
        **result_object(result.model, (result.image,), result.usage, result.timings_ms),
        "detector": None if result.detector is None else model_object(result.detector),
        "masks": [mask_object(mask) for mask in result.masks],
    }


def mask_object(mask: Mask) -> Object:
    """One mask; ``rle`` is COCO's run-length encoding."""
    return {
        "label": None if mask.label is None else clean(mask.label),
        "score": finite(mask.score),
        "box": [finite(value) for value in mask.box],
        "area": mask.area,
        "predicted_iou": finite(mask.iou),
        "stability": finite(mask.stability),
        "rle": rle_object(mask.rle),
    }


def _events(result: Segmentation) -> Iterator[Event]:
    yield "start", start_object(result.model, (result.image,), result.usage)
    for mask in result.masks:
        yield "mask", mask_object(mask)
    yield "done", segmentation_object(result)


def _before(notes: Notes, result: Segmentation) -> None:
    notes.images((result.image,))
    notes.inputs(result.model, (result.image,), result.usage)
    if result.detector is not None:
        notes.inputs(result.detector, ())


def _after(notes: Notes, result: Segmentation) -> None:
    for line in _remarks(result):
        notes.note(line)
    notes.timings(result.timings_ms)


def _remarks(result: Segmentation) -> Iterable[str]:
    if not result.masks:
        yield "nothing was found, so there is no mask: a lower --threshold, --min-iou or --min-stability shows more"
    for number, mask in enumerate(result.masks, start=1):
        if not mask.area:
            yield f"mask {number} is empty: the model sees nothing there"


def _page(result: Segmentation) -> tuple[Run, Content]:
    """The masks' boxes on the picture, and the table."""
    models = (result.model,) if result.detector is None else (result.model, result.detector)
    marks = tuple(
        Mark(mask.box, str(number) if mask.label is None else f"{number} {mask.label}")
        for number, mask in enumerate(result.masks, start=1)
    )
    content = Content((Tabled("Masks", tuple(segment_tables(result, PAGE))),), marks=marks)
    return Run(models, (result.image,), result.usage, result.timings_ms), content


FORM = Form(as_lines(segment_tables), segmentation_object, _events, _before, _after, _page)
