"""vlm ask: a question about images, answered token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import default_prompt, split_ask
from vlmcli.cli.checks import stops, within
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import add_piped_text, may_have_prompt
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError
from vlmcli.types.chat import Sampling

if TYPE_CHECKING:
    from vlmcli.render.sink import Sink

_SAMPLING_NAMES = {"top_p": "--top-p", "top_k": "--top-k", "min_p": "--min-p", "seed": "--seed"}
_ON_A_PAGE = 5
"""Alternatives to a token, unless --top-logprobs says how many."""


def ask(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE... [PROMPT]", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
    max_tokens: Annotated[
        int, typer.Option(callback=within(1), metavar="N", help="The most tokens of an answer.")
    ] = 512,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    top_k: Annotated[
        int, typer.Option(callback=within(0), metavar="K", help="Sample from the K likeliest tokens; 0: all.")
    ] = 0,
    min_p: options.MinP = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option(callback=within(0, above=True), metavar="R", help="Above 1: repeat less.")
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option(callback=within(0, 2**63 - 1), metavar="N", help="Makes sampling repeatable.")
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="End before TEXT. Can be repeated.")] = None,
    top_logprobs: Annotated[
        int | None,
        typer.Option(
            callback=within(0), metavar="N", help="With --json, --jsonl, --html: N alternatives a token; a page has 5."
        ),
    ] = None,
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Ask a model about images.

    IMAGE is a file, a URL, or - for an image on standard input. Without a prompt the image is described; without
    an image the prompt stands alone. Text that is piped in goes before the prompt.
    """
    runtime = Runtime.of(context)
    sink = output.sink(runtime)
    if top_logprobs and not (output.json or output.jsonl or page.html):
        raise UsageError("--top-logprobs needs --json, --jsonl or --html", "vlm topk shows probabilities as a table")
    prompt.check()
    page.check()
    request = split_ask(words or (), prompt.image or (), prompt.prompt)
    alternatives = top_logprobs if top_logprobs is not None else _ON_A_PAGE if page.html else 0
    sampling = Sampling(
        max_tokens, temperature, top_p, top_k, min_p, repetition_penalty, seed, stops(stop or ()), alternatives
    )
    _note_greedy(sampling, sink)
    if not may_have_prompt(runtime, request):
        default_prompt(request.images)
    vlm = model.open(runtime, output, sink, "ask")
    text = add_piped_text(runtime, sink, request) or default_prompt(request.images)
    sink, images = page.open(sink, "ask", vlm, request.images, text, prompt.system)
    sink.ask(vlm.ask(images, text, system=prompt.system, sampling=sampling, raw=prompt.raw))


def _note_greedy(sampling: Sampling, sink: Sink) -> None:
    default = Sampling()
    idle = [flag for name, flag in _SAMPLING_NAMES.items() if getattr(sampling, name) != getattr(default, name)]
    if idle and sampling.temperature == 0:
        sink.note(f"{', '.join(idle)} without effect: temperature 0 always takes the likeliest token")
