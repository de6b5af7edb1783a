"""vlm embed: images and texts as unit vectors, shown or kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_embed
from vlmcli.cli.checks import within
from vlmcli.cli.lines import read_lines
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import BatchFailed


def embed(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE|TEXT...", hidden=True),
    ] = None,
    *,
    image: options.Images = None,
    images: Annotated[Path | None, typer.Option(metavar="FILE", help="A text file with one image a line.")] = None,
    text: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="A text. Can be repeated.")] = None,
    texts: Annotated[Path | None, typer.Option(metavar="FILE", help="A text file with one text a line.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Keep the vectors: .safetensors, .jsonl or .parquet."),
    ] = None,
    force: options.Force = False,
    batch_size: Annotated[
        int, typer.Option(callback=within(1), metavar="N", help="Images, or texts, that are encoded together.")
    ] = 16,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Turn images and texts into unit vectors.

    Words that are files, URLs or - are images, all others texts. An image that cannot be read is named and skipped.
    vlm zeroshot --embeddings scores the vectors that are kept.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    pictures = [*(image or ()), *(read_lines(images, "image") if images else ())]
    sentences = [*(text or ()), *(read_lines(texts, "text") if texts else ())]
    request = split_embed(words or (), pictures, sentences)
    if out is not None:
        from vlmcli.inputs.embeddings.kept import check_file

        check_file(out, force=force)
    dual = model.open(runtime, output, sink, "embed")
    events = dual.embed(request.images, request.texts, batch_size=batch_size)
    if out is not None:
        from vlmcli.inputs.embeddings.kept import keep

        events = keep(events, out)
    totals = sink.embed(events, None if out is None else str(out))
    if totals.skipped:
        raise typer.Exit(BatchFailed.exit_code)  # each has been named already
