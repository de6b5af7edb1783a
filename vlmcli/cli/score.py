"""vlm score: how likely a given answer is."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import ready
from vlmcli.errors import UsageError


def score(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    answer: Annotated[
        str | None, typer.Option("-a", "--answer", metavar="TEXT", help="The answer to score. Required.")
    ] = None,
    no_end: Annotated[
        bool, typer.Option("--no-end", help="The answer may go on: do not count the token that ends it.")
    ] = False,
    k: Annotated[
        int, typer.Option("-k", callback=within(0), metavar="K", help="How many alternatives to show for a token.")
    ] = 3,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Show how likely a given answer is, token by token.

    The last word is always the prompt. Text that is piped in goes before it.
    """
    if not answer:
        raise UsageError("no answer to score" if answer is None else "the answer is empty", f"for example: {_EXAMPLE}")
    it = ready(context, "score", words, prompt, model, output, _EXAMPLE, page)
    it.sink.show(it.vlm.score(*it.asked, answer, k=k, end=not no_end, **it.how))


_EXAMPLE = "vlm score photo.jpg 'What is it?' --answer 'a cat'"
