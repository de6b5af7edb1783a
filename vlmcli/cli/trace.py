"""vlm trace: one prompt through the machine, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmcli.cli.checks import within
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import ready
from vlmcli.inputs.outputs import check_output


def trace(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    max_tokens: Annotated[
        int, typer.Option(callback=within(1), metavar="N", help="Decode at most N tokens, greedily.")
    ] = 8,
    dump: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the stages' tensors into a .safetensors file.")
    ] = None,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Show each stage from the image's file to the tokens of the answer.

    Shapes, figures, milliseconds and peak memory of decode, resize, patchify, encode, project, fuse, prefill and the
    decoding steps; and the sequence that the decoder reads. The last word is always the prompt.
    """
    if dump is not None:
        check_output(dump, ".safetensors", force=page.force)
    it = ready(context, "trace", words, prompt, model, output, "vlm trace photo.jpg 'What is it?'", page)
    it.sink.show(it.vlm.trace(*it.asked, max_tokens=max_tokens, dump=dump, force=page.force, **it.how))
    if dump is not None:
        it.sink.note(f"the tensors are in {dump}")
