"""vlm lens: what each layer of the decoder would say."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import checks
from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import ready


def lens(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    at: Annotated[
        str, typer.Option(metavar="all|image|text|last|N", help="Which positions: all, some, or that of index N.")
    ] = "all",
    layers: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Layers such as 0,4,8-12; 0 is the embeddings. The last is always shown."),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", callback=within(1), metavar="K", help="How many words to show of a layer.")
    ] = 1,
    nearest: Annotated[
        int, typer.Option(callback=within(0), metavar="N", help="How many words near a projected patch to show.")
    ] = 1,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Show what each layer of the decoder would say next, at image and at text positions.

    The logit lens: final norm and head on the hidden states of every layer; and the words of the vocabulary that are
    nearest to the projected patches. The last word is always the prompt.
    """
    where = checks.lens_position(at)
    chosen = None if layers is None else checks.layers(layers)
    it = ready(context, "lens", words, prompt, model, output, "vlm lens photo.jpg 'What is it?'", page)
    with it.progress("lens") as tick:
        result = it.vlm.lens(*it.asked, at=where, layers=chosen, k=k, nearest=nearest, tick=tick, **it.how)
    it.sink.show(result)
