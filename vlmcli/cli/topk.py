"""vlm topk: the probabilities of the next token."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_topk
from vlmcli.cli.checks import position, within
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.prompt import add_piped_text, check_raw, may_have_prompt
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError


def topk(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    image: options.Images = None,
    prompt: options.Prompt = None,
    system: options.System = None,
    model: options.Model = None,
    k: Annotated[
        int, typer.Option("-k", callback=within(1), metavar="K", help="How many tokens to show at a position.")
    ] = 5,
    at: Annotated[
        str, typer.Option(metavar="last|all|N", help="After which position: the last, each, or that of index N.")
    ] = "last",
    expand_images: Annotated[
        bool, typer.Option("--expand-images", help="One row an image position, not one row an image.")
    ] = False,
    raw: options.Raw = False,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    allow_private_urls: options.PrivateUrls = False,
    no_cache: options.NoCache = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Show how likely each next token is.

    The last word is always the prompt. Text that is piped in goes before it.
    """
    runtime = Runtime.of(context)
    output = OutputOptions(json, jsonl, quiet, verbose)
    sink = output.sink(runtime)
    where = position(at)
    check_raw(raw, system)
    request = split_topk(words or (), image or (), prompt)
    if not may_have_prompt(runtime, request):
        raise _no_prompt()
    vlm = ModelOptions(model, device, dtype, threads, max_pixels, allow_private_urls, not no_cache).open(
        runtime, output, sink, "topk"
    )
    text = add_piped_text(runtime, sink, request)
    if text is None:
        raise _no_prompt()
    sink.topk(vlm.topk(request.images, text, k=k, at=where, system=system, raw=raw, expand_images=expand_images))


def _no_prompt() -> UsageError:
    return UsageError("no prompt", "for example: vlm topk photo.jpg 'The photo shows a'")
