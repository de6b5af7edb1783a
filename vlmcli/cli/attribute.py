"""vlm attribute: which parts of an image an answer rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import ready
from vlmcli.errors import UsageError
from vlmcli.types.attribute import METHODS, Method


def method_of(text: str) -> Method:
    """A method's name. Raises typer.BadParameter for anything else."""
    for method in METHODS:
        if method == text:
            return method
    raise typer.BadParameter(f"{text!r} is none of {', '.join(METHODS)}.")


def attribute(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE... PROMPT", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    answer: Annotated[
        str | None, typer.Option("-a", "--answer", metavar="TEXT", help="The answer to explain; else the model's own.")
    ] = None,
    token: Annotated[
        int | None,
        typer.Option(callback=within(0), metavar="N", help="Explain only token N of the answer; 0 is the first."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            callback=method_of,
            help="occlusion, ablation, gradient, integrated, attention or tam: from the most reliable to the least.",
        ),
    ] = "occlusion",
    of: Annotated[
        int, typer.Option("--of", callback=within(0), metavar="N", help="The image to look at; 0 is the first.")
    ] = 0,
    grid: Annotated[
        int, typer.Option(callback=within(1, 64), metavar="N", help="Cells along the longer side of the image.")
    ] = 16,
    batch_size: Annotated[int, typer.Option(callback=within(1), metavar="N", help="Forward passes side by side.")] = 8,
    no_auc: Annotated[bool, typer.Option("--no-auc", help="Do not try the map by deletion and insertion.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Draw the map over the image, into a .png.")
    ] = None,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Show which parts of an image an answer rests on.

    occlusion paints over windows of the image, ablation replaces blocks of its embeddings: a pass for each cell, and
    what they say is what the model does. gradient (one pass) and integrated (16) are first-order estimates. attention
    shows where the model looked, not what it used. tam reads the image's slots as words, which small models' are not.
    """
    if answer is not None and not answer:
        raise UsageError("the answer is empty")
    if out is not None:
        from vlmcli.inputs.outputs import check_output

        check_output(out, ".png", force=page.force)
    it = ready(context, "attribute", words, prompt, model, output, _EXAMPLE, page)
    with it.progress("attribute") as tick:
        result = it.vlm.attribute(
            *it.asked,
            answer or "",
            method=method,
            token=token,
            of=of,
            grid=grid,
            batch_size=batch_size,
            judge=not no_auc,
            tick=tick,
            **it.how,
        )
    it.sink.show(result)
    if out is not None:
        from vlmcli.inputs.outputs import replacing
        from vlmcli.render.overlay import overlay_png

        with replacing(out) as stream:
            stream.write(overlay_png(result.picture, result.grid))
        it.sink.note(f"the map is in {out}")


_EXAMPLE = "vlm attribute photo.jpg 'What is it?'"
