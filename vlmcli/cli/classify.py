"""vlm classify: images by the labels that a classifier knows."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_images
from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.runtime import Runtime


def classify(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE...", hidden=True),
    ] = None,
    image: options.Images = None,
    model: options.Model = None,
    k: Annotated[
        int, typer.Option("-k", callback=within(1), metavar="K", help="How many classes to show for an image.")
    ] = 5,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    allow_private_urls: options.PrivateUrls = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Classify images by the labels of an image classifier.

    No classifier is built in: name one with -m, such as vit-b16. For labels of your own: vlm zeroshot.
    """
    runtime = Runtime.of(context)
    output = OutputOptions(json, jsonl, quiet, verbose)
    sink = output.sink(runtime)
    images = split_images(words or (), image or ())
    classifier = ModelOptions(model, device, dtype, threads, max_pixels, allow_private_urls).open(
        runtime, output, sink, "classify"
    )
    sink.classify(classifier.classify(images, k=k))
