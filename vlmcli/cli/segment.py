"""vlm segment: masks of what points, boxes or words point at, or of everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import LabelRequest, split_segment
from vlmcli.cli.checks import box as checked_box
from vlmcli.cli.checks import point as checked_point
from vlmcli.cli.checks import within
from vlmcli.cli.finding import Coco, FindOptions
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError

if TYPE_CHECKING:
    from vlmcli.inputs.image import LoadedImage
    from vlmcli.types.segment import Segmentation


@dataclass(frozen=True, slots=True)
class PointOptions:
    """Where the things are, as x,y in pixels of the upright image."""

    point: Annotated[list[str] | None, typer.Option(metavar="X,Y", help="A point in the thing. Can be repeated.")] = (
        None
    )
    negative: Annotated[
        list[str] | None, typer.Option(metavar="X,Y", help="A point outside of it. Can be repeated.")
    ] = None
    box: Annotated[
        list[str] | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box around a thing. Can be repeated.")
    ] = None
    each: Annotated[bool, typer.Option("--each", help="Every point is in a thing of its own.")] = False

    def settled(self) -> dict[str, Any]:
        """What ``SegmenterModel.segment`` takes. Raises UsageError for what is no point, or no box."""
        return {
            "points": [checked_point(text, "--point") for text in self.point or ()],
            "negative": [checked_point(text, "--negative") for text in self.negative or ()],
            "boxes": [checked_box(text) for text in self.box or ()],
            "each": self.each,
        }


@dataclass(frozen=True, slots=True)
class EverythingOptions:
    """All things at once, by a grid of points."""

    everything: Annotated[
        bool, typer.Option("--everything", help="Masks of everything, by a grid of points; copies are left out.")
    ] = False
    grid: Annotated[
        int, typer.Option(callback=within(1), metavar="N", help="Points a side of the grid, with --everything.")
    ] = 32
    min_iou: Annotated[
        float, typer.Option(callback=within(0, 1), metavar="P", help="The least predicted IoU, with --everything.")
    ] = 0.88
    min_stability: Annotated[
        float, typer.Option(callback=within(0, 1), metavar="P", help="The least stability, with --everything.")
    ] = 0.95


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Where the masks go."""

    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The image with the masks in colours.")
    ] = None
    mask_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder for the masks, a black and white PNG file each.")
    ] = None
    cutout: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What the masks cut out of the image, the rest transparent.")
    ] = None
    coco: Coco = None

    def check(self, *, force: bool) -> None:
        """Raises UsageError and InputError for files that cannot be written, before a model is loaded."""
        from vlmcli.cli.pictures import check_picture
        from vlmcli.inputs.outputs import check_folder, check_output

        if self.out is not None:
            check_picture(self.out, force=force)
        if self.cutout is not None:
            check_picture(self.cutout, force=force, alpha=True)
        if self.mask_dir is not None:
            check_folder(self.mask_dir, force=force)
        if self.coco is not None:
            check_output(self.coco, ".json", force=force)

    def write(self, image: LoadedImage, result: Segmentation) -> None:
        """Write what was asked for. Raises OSError."""
        from vlmcli.cli.pictures import file_name, write_json, write_picture
        from vlmcli.render.coco import segmentation_coco
        from vlmcli.render.pictures.annotate import with_masks
        from vlmcli.render.pictures.masks import cutout, mask_image

        if self.out is not None:
            write_picture(self.out, with_masks(image.pixels, result.masks))
        if self.cutout is not None:
            write_picture(self.cutout, cutout(image.pixels, result.masks))
        if self.mask_dir is not None:
            self.mask_dir.mkdir(exist_ok=True)
            for number, mask in enumerate(result.masks, start=1):
                name = f"{number:03d}" if mask.label is None else f"{number:03d}-{file_name(mask.label)}"
                write_picture(self.mask_dir / f"{name}.png", mask_image(mask.rle))
        if self.coco is not None:
            write_json(self.coco, segmentation_coco(result))


def segment(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE [LABEL...]", hidden=True),
    ] = None,
    *,
    image: options.Images = None,
    where: PointOptions,
    whole: EverythingOptions,
    find: FindOptions,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The detector that finds the labels.  [env: VLM_DETECTOR]",
            autocompletion=options.complete_model,
        ),
    ] = None,
    files: MaskFiles,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Cut things out of an image: what points and boxes point at, what words name, or everything.

    All points together are in one thing. Labels are found by a detector, whose boxes the segmenter fills. The
    built-in segmenter and detector know drawn shapes; for photographs name others, such as -m sam2.1-tiny --detector
    owlv2-base.
    """
    from vlmcli.config import setting

    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    request = split_segment(words or (), image or (), find.texts())
    points, how = where.settled(), find.how()
    _check_modes(request, points, whole.everything)
    if not request.labels and (detector or find.threshold is not None or find.top is not None):
        raise UsageError("--detector, --threshold and --top belong to labels", "give a label, such as 'a cat'")
    page.check()
    files.check(force=page.force)
    finder = None
    if request.labels:
        finder = model.load(runtime, output, "detect", setting("detector", detector, None, str))
    segmenter = model.open(runtime, output, sink, "segment")
    sink, pictures = page.open(sink, "segment", segmenter, request.images, _pointed(request, points))
    read = segmenter.read_one(pictures[0])
    if whole.everything:
        limits = {"grid": whole.grid, "min_iou": whole.min_iou, "min_stability": whole.min_stability}
        result = segmenter.everything(read, **limits, **({} if find.nms is None else {"nms": find.nms}))
    elif finder is not None:
        result = segmenter.segment(read, request.labels, detector=finder, **how)
    else:
        result = segmenter.segment(read, **points)
    sink.show(result)
    files.write(read, result)


def _check_modes(request: LabelRequest, points: dict[str, Any], everything: bool) -> None:
    """Raises UsageError unless things are pointed at in just one way."""
    pointed = any(points[name] for name in ("points", "negative", "boxes"))
    ways = [bool(request.labels), pointed, everything]
    if not any(ways):
        raise UsageError("nothing to segment", "give a label, --point, --box or --everything")
    if sum(ways) > 1:
        raise UsageError("labels, points and boxes, and --everything exclude each other")


def _pointed(request: LabelRequest, points: dict[str, Any]) -> str:
    """What is cut out, in words."""
    places = [f"{name} {x:g},{y:g}" for name in ("points", "negative") for x, y in points[name]]
    boxes = [",".join(f"{edge:g}" for edge in box) for box in points["boxes"]]
    return ", ".join((*request.labels, *places, *(f"box {box}" for box in boxes))) or "everything"
