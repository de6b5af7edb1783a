"""vlm zeroshot: labels scored against images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_labels, split_zeroshot
from vlmcli.cli.checks import template as checked_template
from vlmcli.cli.lines import read_lines
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError


def zeroshot(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE... LABEL...", hidden=True),
    ] = None,
    *,
    image: options.Images = None,
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="TEXT", help="A label. Can be repeated.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="A text file with one label a line.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Vectors of images that vlm embed kept, in the place of images.")
    ] = None,
    template: Annotated[
        str, typer.Option(metavar="TEXT", help="The text around each label, such as 'a photo of {}'.")
    ] = "{}",
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Score labels against images.

    Words that are files, URLs or - are images as long as they come first; the rest are labels. The sigmoid judges
    each label on its own; the softmax judges it against the others.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    page.check()
    form = checked_template(template)
    more = [*(label or ()), *(read_lines(labels, "label") if labels else ())]
    pictures, texts = _request(words or (), image or (), more, embeddings)
    dual = model.open(runtime, output, sink, "zeroshot")
    sink, read = page.open(sink, "zeroshot", dual, () if embeddings else pictures, ", ".join(texts))
    sink.show(dual.zeroshot(pictures if embeddings else read, texts, template=form))


def _request(
    words: Sequence[str], images: Sequence[str], labels: Sequence[str], embeddings: Path | None
) -> tuple[Any, tuple[str, ...]]:
    """The images, or the file that keeps their vectors, and the labels."""
    if embeddings is None:
        request = split_zeroshot(words, images, labels)
        return request.images, request.labels
    if images:
        raise UsageError("--embeddings and --image exclude each other", "the file takes the place of images")
    from vlmcli.inputs.embeddings.kept import Kept

    texts = split_labels(words, labels)
    return Kept.open(embeddings), texts
