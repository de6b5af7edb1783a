"""vlm check: a yes or a no as an exit code, for scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli.arguments import split_topk
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError
from vlmcli.types.choose import YES_NO


def check(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] QUESTION", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Answer a question with yes (exit code 0) or no (exit code 1).

    Every failure ends in another code, 2 or more. Text on standard input is left to the script.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    prompt.check()
    page.check()
    request = split_topk(words or (), prompt.image or (), prompt.prompt)
    if request.prompt is None:
        raise UsageError("no question", "for example: vlm check photo.jpg 'Is there a cat?'")
    vlm = model.open(runtime, output, sink, "check")
    sink, images = page.open(sink, "check", vlm, request.images, request.prompt, prompt.system)
    result = vlm.check(images, request.prompt, system=prompt.system, raw=prompt.raw)
    sink.show(result)
    raise typer.Exit(YES_NO.index(result.best.option))
