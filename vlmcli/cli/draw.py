"""vlm draw: images out of words, by a model that draws as it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import Request
from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.prompt import add_piped_text, may_have_prompt
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError
from vlmcli.types.draw import Brush


def draw(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="PROMPT", hidden=True)] = None,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A .png file for the image. Required.")
    ] = None,
    force: options.Force = False,
    count: Annotated[
        int, typer.Option(callback=within(1, 9999), metavar="N", help="Draw N images: FILE-1.png, FILE-2.png, ...")
    ] = 1,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="WIDTHxHEIGHT or a ratio, such as 16:9. Emu3 only.")
    ] = None,
    negative: Annotated[str, typer.Option(metavar="TEXT", help="What guidance leads away from. Emu3 only.")] = "",
    guidance: Annotated[
        float | None,
        typer.Option(callback=within(0), metavar="G", help="How strictly to follow the prompt; 1: no guidance."),
    ] = None,
    temperature: options.Temperature = 1.0,
    top_p: options.TopP = 1.0,
    top_k: Annotated[
        int | None, typer.Option(callback=within(0), metavar="K", help="Sample from the K likeliest tokens; 0: all.")
    ] = None,
    min_p: options.MinP = 0.0,
    seed: Annotated[
        int | None,
        typer.Option(callback=within(0, 2**62), metavar="N", help="Of the first image; the next has N + 1."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(callback=within(1), metavar="N", help="Images that are drawn side by side.")
    ] = 1,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Draw images with a model that says them token by token: Janus or Emu3.

    The built-in Janus draws plain shapes, 64 x 64 pixels; for anything else name another, such as -m janus-pro-1b.
    What was drawn is named with its seed, with which it can be drawn again. Text that is piped in goes before the
    prompt.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    request = Request((), _prompt(words or ()))
    if not may_have_prompt(runtime, request):
        raise UsageError("no prompt", _EXAMPLE)
    if out is None:
        raise UsageError("no file for the image", _EXAMPLE)
    from vlmcli.inputs.outputs import check_output
    from vlmcli.inputs.pictures import keep_pictures, numbered

    paths = numbered(out, count)
    for path in paths:
        check_output(path, ".png", force=force)
    vlm = model.open(runtime, output, sink, "draw")
    text = add_piped_text(runtime, sink, request)
    if text is None:
        raise UsageError("no prompt", _EXAMPLE)
    brush = Brush(guidance, temperature, top_p, top_k, min_p, seed)
    events = vlm.draw(text, count=count, size=size, negative=negative, brush=brush, batch_size=batch_size)
    sink.draw(keep_pictures(events, paths))


def _prompt(words: list[str] | tuple[()]) -> str | None:
    if len(words) > 1:
        raise UsageError(f"one prompt, not {len(words)} words", f"put it in quotes: '{' '.join(words)}'")
    if words and not words[0].strip():
        raise UsageError("the prompt is empty", _EXAMPLE)
    return words[0] if words else None


_EXAMPLE = "for example: vlm draw 'a red star on a white background' -o star.png"
