"""vlm zeroshot: labels scored against images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_zeroshot
from vlmcli.cli.checks import template as checked_template
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import InputError


def zeroshot(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE... LABEL...", hidden=True),
    ] = None,
    image: options.Images = None,
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="TEXT", help="A label. Can be repeated.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="A text file with one label a line.")] = None,
    template: Annotated[
        str, typer.Option(metavar="TEXT", help="The text around each label, such as 'a photo of {}'.")
    ] = "{}",
    model: options.Model = None,
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
    """Score labels against images.

    Words that are files, URLs or - are images as long as they come first; the rest are labels. The sigmoid judges
    each label on its own; the softmax judges it against the others.
    """
    runtime = Runtime.of(context)
    output = OutputOptions(json, jsonl, quiet, verbose)
    sink = output.sink(runtime)
    form = checked_template(template)
    more = [*(label or ()), *(read_labels(labels) if labels else ())]
    request = split_zeroshot(words or (), image or (), more)
    dual = ModelOptions(model, device, dtype, threads, max_pixels, allow_private_urls).open(
        runtime, output, sink, "zeroshot"
    )
    sink.zeroshot(dual.zeroshot(request.images, request.labels, template=form))


def read_labels(file: Path) -> list[str]:
    """One label a line, empty lines left out. Raises InputError where the file is missing, empty or no text."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot read the labels: {(error.strerror or str(error)).lower()}: {file}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the labels are not UTF-8 text: {file}") from error
    labels = [line.strip() for line in lines if line.strip()]
    if not labels:
        raise InputError(f"no labels in {file}", "it should hold one label a line")
    return labels
