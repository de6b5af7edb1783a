"""vlm check: a yes or a no as an exit code, for scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_topk
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.prompt import check_raw
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError
from vlmcli.types.choose import YES_NO


def check(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] QUESTION", hidden=True),
    ] = None,
    image: options.Images = None,
    prompt: options.Prompt = None,
    system: options.System = None,
    model: options.Model = None,
    raw: options.Raw = False,
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
    """Answer a question with yes (exit code 0) or no (exit code 1).

    Every failure ends in another code, 2 or more. Text on standard input is left to the script.
    """
    runtime = Runtime.of(context)
    output = OutputOptions(json, jsonl, quiet, verbose)
    sink = output.sink(runtime)
    check_raw(raw, system)
    request = split_topk(words or (), image or (), prompt)
    if request.prompt is None:
        raise UsageError("no question", "for example: vlm check photo.jpg 'Is there a cat?'")
    vlm = ModelOptions(model, device, dtype, threads, max_pixels, allow_private_urls).open(
        runtime, output, sink, "check"
    )
    result = vlm.check(request.images, request.prompt, system=system, raw=raw)
    sink.check(result)
    raise typer.Exit(YES_NO.index(result.best.option))
