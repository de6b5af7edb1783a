"""vlm choose: a distribution over closed options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.arguments import split_topk
from vlmcli.cli.checks import rating
from vlmcli.cli.options import ModelOptions, OutputOptions
from vlmcli.cli.prompt import add_piped_text, check_raw, may_have_prompt
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError
from vlmcli.types.choose import YES_NO


def choose(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    image: options.Images = None,
    prompt: options.Prompt = None,
    system: options.System = None,
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", metavar="TEXT", help="An option. Repeat it for each.")
    ] = None,
    yes_no: Annotated[bool, typer.Option("--yes-no", help="The options are yes and no.")] = False,
    rate: Annotated[
        str | None, typer.Option(metavar="LOW-HIGH", help="The options are the numbers from LOW to HIGH, such as 1-5.")
    ] = None,
    show_options: Annotated[
        bool,
        typer.Option(
            "--show-options", help="Put the options into the prompt, at {options} or at its end, in several orders."
        ),
    ] = False,
    model: options.Model = None,
    raw: options.Raw = False,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    allow_private_urls: options.PrivateUrls = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Show how the model divides its answer among options.

    The last word is always the prompt. Text that is piped in goes before it.
    """
    runtime = Runtime.of(context)
    output = OutputOptions(json, jsonl, quiet, verbose)
    sink = output.sink(runtime)
    check_raw(raw, system)
    choices = _options(option or (), yes_no, rate)
    request = split_topk(words or (), image or (), prompt)
    if not may_have_prompt(runtime, request):
        raise UsageError("no prompt", _EXAMPLE)
    vlm = ModelOptions(model, device, dtype, threads, max_pixels, allow_private_urls).open(
        runtime, output, sink, "choose"
    )
    text = add_piped_text(runtime, sink, request)
    if text is None:
        raise UsageError("no prompt", _EXAMPLE)
    sink.choose(vlm.choose(request.images, text, choices, show_options=show_options, system=system, raw=raw))


def _options(option: Sequence[str], yes_no: bool, rate: str | None) -> tuple[str, ...]:
    """The options, from the only one of three sources that was used. Raises UsageError."""
    if bool(option) + yes_no + (rate is not None) > 1:
        raise UsageError("--option, --yes-no and --rate exclude each other")
    if yes_no:
        return YES_NO
    if rate is not None:
        return rating(rate)
    if len(option) < 2:
        raise UsageError("there must be at least two options to choose from", _EXAMPLE)
    if any(not text.strip() for text in option):
        raise UsageError("an option is empty")
    if len(set(option)) < len(option):
        raise UsageError("an option is given twice")
    return tuple(option)


_EXAMPLE = "for example: vlm choose photo.jpg 'What is it?' --option 'a cat' --option 'a dog'"
