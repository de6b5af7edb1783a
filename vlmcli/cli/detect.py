"""vlm detect: boxes around what words name, or around what resembles an example."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_detect
from vlmcli.cli.finding import Coco, FindOptions
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.runtime import Runtime


def detect(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE... LABEL...", hidden=True),
    ] = None,
    *,
    image: options.Images = None,
    find: FindOptions,
    query_image: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="An image of one thing to look for, in the place of labels."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The image with boxes; of several images, a folder."),
    ] = None,
    coco: Coco = None,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Find things in images by words.

    Words that are files, URLs or - are images as long as they come first; the rest are labels. Boxes are x0, y0, x1,
    y1 in pixels of the upright image. For photographs name a detector with -m, such as owlv2-base.
    """
    from vlmcli.cli.pictures import check_places, write_json, write_picture
    from vlmcli.inputs.outputs import check_output

    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    page.check()
    how = find.how()
    request = split_detect(words or (), image or (), find.texts(), by_example=query_image is not None)
    places = () if out is None else check_places(out, request.images, force=page.force)
    if coco is not None:
        check_output(coco, ".json", force=page.force)
    detector = model.open(runtime, output, sink, "detect")
    sought = ", ".join(request.labels) if query_image is None else query_image
    sink, pictures = page.open(sink, "detect", detector, request.images, sought)
    images = detector.read(pictures)
    result = detector.detect(images, request.labels, query_image=query_image, **how)
    sink.show(result)
    if places:
        from vlmcli.render.pictures.annotate import with_boxes

        for place, read, found in zip(places, images, result.found, strict=True):
            write_picture(place, with_boxes(read.pixels, found, result.labels))
    if coco is not None:
        from vlmcli.render.coco import detections_coco

        write_json(coco, detections_coco(result))
