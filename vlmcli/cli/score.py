"""vlm score: how likely a given answer is."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_topk
from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.prompt import add_piped_text, check_raw, may_have_prompt
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError


def score(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    image: options.Images = None,
    prompt: options.Prompt = None,
    system: options.System = None,
    answer: Annotated[
        str | None, typer.Option("-a", "--answer", metavar="TEXT", help="The answer to score. Required.")
    ] = None,
    no_end: Annotated[
        bool, typer.Option("--no-end", help="The answer may go on: do not count the token that ends it.")
    ] = False,
    model: options.Model = None,
    k: Annotated[
        int, typer.Option("-k", callback=within(0), metavar="K", help="How many alternatives to show for a token.")
    ] = 3,
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
    """Show how likely a given answer is, token by token.

    The last word is always the prompt. Text that is piped in goes before it.
    """
    runtime = Runtime.of(context)
    output = OutputOptions(json, jsonl, quiet, verbose)
    sink = output.sink(runtime)
    check_raw(raw, system)
    request = split_topk(words or (), image or (), prompt)
    if not answer:
        raise UsageError("no answer to score" if answer is None else "the answer is empty", _EXAMPLE)
    if not may_have_prompt(runtime, request):
        raise UsageError("no prompt", _EXAMPLE)
    vlm = ModelOptions(model, device, dtype, threads, max_pixels, allow_private_urls).open(
        runtime, output, sink, "score"
    )
    text = add_piped_text(runtime, sink, request)
    if text is None:
        raise UsageError("no prompt", _EXAMPLE)
    sink.score(vlm.score(request.images, text, answer, k=k, end=not no_end, system=system, raw=raw))


_EXAMPLE = "for example: vlm score photo.jpg 'What is it?' --answer 'a cat'"
