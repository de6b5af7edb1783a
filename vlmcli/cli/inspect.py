"""vlm inspect: what a model is made of, told without loading it."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import checks, options
from vlmcli.cli.arguments import only_images
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError


def inspect(
    context: typer.Context,
    images: Annotated[list[str] | None, typer.Argument(metavar="[IMAGE...]", hidden=True)] = None,
    *,
    image_size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Count the tokens of a blank image of that size.")
    ] = None,
    model: options.Model = None,
    max_pixels: options.MaxPixels = None,
    allow_private_urls: options.PrivateUrls = False,
    output: OutputOptions,
) -> None:
    """Show what a model is made of, and how many tokens an image becomes.

    From the model's configuration alone: its weights are neither loaded nor downloaded.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    size = checks.size(image_size) if image_size else None
    shown = only_images(images or ())
    if shown and size:
        raise UsageError("--image-size is for a blank image, and images were given")
    settled = ModelOptions(model, max_pixels=max_pixels, allow_private_urls=allow_private_urls).settled()
    wanted = {name: settled[name] for name in ("model", "max_pixels", "allow_private_urls")}
    progress = not output.quiet and runtime.stderr.isatty()
    sink.show(runtime.inspect(images=shown, image_size=size, progress=progress, **wanted))
