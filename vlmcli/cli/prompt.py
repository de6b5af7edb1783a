"""The prompt of a command, with what is piped into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import typer

from vlmcli.cli.arguments import STDIN, Request, split_topk, with_piped_text
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import NO_PAGE, PageOptions
from vlmcli.cli.runtime import Runtime
from vlmcli.cli.stdin import can_hold_text, is_open_pipe, piped_text
from vlmcli.errors import UsageError

if TYPE_CHECKING:
    from vlmcli.inputs.image import LoadedImage
    from vlmcli.render.sink import Sink


def may_have_prompt(runtime: Runtime, request: Request) -> bool:
    """Whether there is a prompt, or standard input may still bring one: known before a model is loaded."""
    return request.prompt is not None or (STDIN not in request.images and can_hold_text(runtime.stdin))


def add_piped_text(runtime: Runtime, sink: Sink, request: Request) -> str | None:
    """The prompt with the text from standard input before it; that text alone where there is no prompt.

    To be called when the model has been loaded: so much time has whoever writes into the pipe. Standard input is left
    alone when it holds an image; where it is the only possible source of a question, it is waited for without limit.
    Raises InputError where it is no text.
    """
    if STDIN in request.images:
        return request.prompt
    only_source = request.prompt is None and not request.images
    piped = piped_text(runtime.stdin, None if only_source else runtime.patience_s)
    if piped is None and not request.images and is_open_pipe(runtime.stdin):
        sink.note("nothing has come through the pipe on standard input: going on without it")
    return with_piped_text(request.prompt, piped)


@dataclass(frozen=True, slots=True)
class Ready:
    """All that a command about a prompt needs: where its result goes, the model, the images, the prompt."""

    sink: Sink
    vlm: Any
    images: Sequence[str | LoadedImage]
    text: str
    system: str | None
    raw: bool
    stderr: TextIO
    quiet: bool

    @property
    def asked(self) -> tuple[Sequence[str | LoadedImage], str]:
        """Images and prompt, as the Python interface takes them."""
        return self.images, self.text

    @property
    def how(self) -> dict[str, Any]:
        """The keyword arguments of the Python interface that say how the prompt is put to the model."""
        return {"system": self.system, "raw": self.raw}

    def progress(self, label: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """What a long task tells how far it is, and shows a bar on stderr."""
        from vlmcli.render.progress import ticking

        return ticking(self.stderr, label, quiet=self.quiet)


def ready(
    context: typer.Context,
    verb: str,
    words: Sequence[str] | None,
    prompt: PromptOptions,
    model: ModelOptions,
    output: OutputOptions,
    example: str,
    page: PageOptions = NO_PAGE,
) -> Ready:
    """Read ``[IMAGE...] PROMPT``, then load a model that can ``verb``, then wait for what is piped in.

    ``example`` is the hint where there is no prompt; ``page``: whether the sink writes one as well. Raises UsageError
    and InputError before a model is loaded, where possible, and what ``ModelOptions.open`` raises.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    prompt.check()
    page.check()
    request = split_topk(words or (), prompt.image or (), prompt.prompt)
    no_prompt = UsageError("no prompt", f"for example: {example}")
    if not may_have_prompt(runtime, request):
        raise no_prompt
    vlm = model.open(runtime, output, sink, verb)
    text = add_piped_text(runtime, sink, request)
    if text is None:
        raise no_prompt
    sink, images = page.open(sink, verb, vlm, request.images, text, prompt.system)
    return Ready(sink, vlm, images, text, prompt.system, prompt.raw, runtime.stderr, output.quiet)
