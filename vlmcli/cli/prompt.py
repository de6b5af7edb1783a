"""The prompt of a command, with what is piped into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlmcli.cli.arguments import STDIN, Request, with_piped_text
from vlmcli.cli.runtime import Runtime
from vlmcli.cli.stdin import can_hold_text, is_open_pipe, piped_text
from vlmcli.errors import UsageError

if TYPE_CHECKING:
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


def check_raw(raw: bool, system: str | None) -> None:
    """Raises UsageError for a system message that would have no place to go."""
    if raw and system is not None:
        raise UsageError("--raw and --system exclude each other", "with --raw the prompt is all that the model reads")
