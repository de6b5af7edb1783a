"""vlm bench: how fast a model is on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli.arguments import split_images
from vlmcli.cli.checks import within
from vlmcli.cli.options import Images, ModelOptions, OutputOptions
from vlmcli.cli.runtime import Runtime


def bench(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...]", hidden=True),
    ] = None,
    *,
    image: Images = None,
    rounds: Annotated[int, typer.Option(callback=within(1), metavar="N", help="How often to measure.")] = 3,
    tokens: Annotated[int, typer.Option(callback=within(1), metavar="N", help="Tokens to say in each round.")] = 32,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Measure how long a question takes here, part by part.

    With IMAGE it is a question about it, and the image is encoded anew every time.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    images = split_images(words or (), image or ()) if words or image else ()
    vlm = model.open(runtime, output, sink, "bench")
    sink.show(vlm.bench(images, rounds=rounds, tokens=tokens))
