"""vlm compare: two models, dtypes, images or prompts, held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcli.cli import checks
from vlmcli.cli.arguments import only_images, split_topk
from vlmcli.cli.checks import within
from vlmcli.cli.notice import default_notice
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions, complete_model
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import add_piped_text, may_have_prompt
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError

if TYPE_CHECKING:
    from vlmcli.inputs.image import LoadedImage


def compare(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    with_model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The second side: another model.", autocompletion=complete_model),
    ] = None,
    with_dtype: Annotated[str | None, typer.Option(metavar="DTYPE", help="The second side: in another dtype.")] = None,
    with_image: Annotated[
        list[str] | None, typer.Option(metavar="IMAGE", help="The second side: another image. Can be repeated.")
    ] = None,
    with_prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="The second side: another prompt.")] = None,
    answer: Annotated[
        str | None,
        typer.Option("-a", "--answer", metavar="TEXT", help="What both read; else the first side's greedy answer."),
    ] = None,
    answer_only: Annotated[bool, typer.Option("--answer-only", help="Leave out the positions of the prompt.")] = False,
    max_tokens: Annotated[
        int, typer.Option(callback=within(1), metavar="N", help="At most N tokens of the greedy answers.")
    ] = 64,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Compare two models, two dtypes, two images or two prompts.

    Both sides read the same answer: how far their distributions lie apart at each position, and where their own greedy
    answers part; for two tokenizers, how likely each finds the text by byte. One model is in memory at a time.
    """
    if answer is not None and not answer:
        raise UsageError("the answer is empty")
    if with_model is None and with_dtype is None and not with_image and with_prompt is None:
        raise UsageError("nothing to compare with", f"for example: {_EXAMPLE}")
    others = only_images(with_image) if with_image else None
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    prompt.check()
    page.check()
    request = split_topk(words or (), prompt.image or (), prompt.prompt)
    no_prompt = UsageError("no prompt", f"for example: {_EXAMPLE}")
    if not may_have_prompt(runtime, request):
        raise no_prompt
    settled = model.settled()
    if settled["model"] is None:
        sink.note(default_notice("vlm"))
    text = add_piped_text(runtime, sink, request)
    if text is None:
        raise no_prompt
    shown = (*request.images, *(others or ()))
    sink, images = page.open(sink, "compare", _Reader(settled), shown, text, prompt.system)
    result = runtime.compare(
        images[: len(request.images)],
        text,
        answer or "",
        other_model=with_model,
        other_dtype=None if with_dtype is None else checks.dtype(with_dtype),
        other_images=images[len(request.images) :] if others else None,
        other_prompt=with_prompt,
        answer_only=answer_only,
        max_tokens=max_tokens,
        system=prompt.system,
        raw=prompt.raw,
        loader=runtime.load,
        progress=not output.quiet and runtime.stderr.isatty(),
        **settled,
    )
    sink.show(result)


class _Reader:
    """Reads images as the models do that come later: a page holds them too."""

    def __init__(self, settled: dict[str, Any]) -> None:
        self._limits = {name: settled[name] for name in ("max_pixels", "allow_private_urls")}

    def read(self, images: Sequence[str]) -> tuple[LoadedImage, ...]:
        """Upright RGB images. Raises InputError."""
        from vlmcli.api.images import read_image

        return tuple(read_image(image, **self._limits) for image in images)


_EXAMPLE = "vlm compare photo.jpg 'What is it?' --with-dtype bfloat16"
