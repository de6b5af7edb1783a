"""vlm knockout: what an answer loses when its last position cannot look at the image."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import checks
from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import ready
from vlmcli.errors import UsageError


def knockout(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE PROMPT", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    answer: Annotated[
        str | None,
        typer.Option("-a", "--answer", metavar="TEXT", help="The answer to look at; else the likeliest first token."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="Cut only this part of the image off, in pixels of the original."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(callback=within(1), metavar="N", help="Blocks that are cut together; else a fifth of them all."),
    ] = None,
    stride: Annotated[
        int, typer.Option(callback=within(1), metavar="N", help="Blocks from one window to the next.")
    ] = 1,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Show what an answer loses when its last position cannot look at the image.

    Attention from there to the image's positions is cut in windows of the decoder's blocks, each a pass over the whole
    prompt. The last word is always the prompt.
    """
    if answer is not None and not answer:
        raise UsageError("the answer is empty")
    cut = None if box is None else checks.box(box)
    it = ready(context, "knockout", words, prompt, model, output, "vlm knockout photo.jpg 'What is it?'", page)
    with it.progress("knockout") as tick:
        result = it.vlm.knockout(*it.asked, answer or "", box=cut, window=window, stride=stride, tick=tick, **it.how)
    it.sink.show(result)
