"""vlm classify: images by the labels that a classifier knows."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_images
from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.runtime import Runtime


def classify(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE...", hidden=True),
    ] = None,
    *,
    image: options.Images = None,
    k: Annotated[
        int, typer.Option("-k", callback=within(1), metavar="K", help="How many classes to show for an image.")
    ] = 5,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Classify images by the labels of an image classifier.

    No classifier is built in: name one with -m, such as vit-b16. For labels of your own: vlm zeroshot.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    page.check()
    images = split_images(words or (), image or ())
    classifier = model.open(runtime, output, sink, "classify")
    sink, pictures = page.open(sink, "classify", classifier, images, ", ".join(images))
    sink.show(classifier.classify(pictures, k=k))
