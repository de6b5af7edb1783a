"""vlm topk: the probabilities of the next token."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli.checks import position, within
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import ready


def topk(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    k: Annotated[
        int, typer.Option("-k", callback=within(1), metavar="K", help="How many tokens to show at a position.")
    ] = 5,
    at: Annotated[
        str, typer.Option(metavar="last|all|N", help="After which position: the last, each, or that of index N.")
    ] = "last",
    expand_images: Annotated[
        bool, typer.Option("--expand-images", help="One row an image position, not one row an image.")
    ] = False,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Show how likely each next token is.

    The last word is always the prompt. Text that is piped in goes before it.
    """
    where = position(at)
    it = ready(context, "topk", words, prompt, model, output, "vlm topk photo.jpg 'The photo shows a'", page)
    it.sink.show(it.vlm.topk(*it.asked, k=k, at=where, expand_images=expand_images, **it.how))
