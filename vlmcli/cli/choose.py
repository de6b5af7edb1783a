"""vlm choose: a distribution over closed options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from vlmcli.cli.checks import rating
from vlmcli.cli.options import ModelOptions, OutputOptions, PromptOptions
from vlmcli.cli.page import PageOptions
from vlmcli.cli.prompt import ready
from vlmcli.errors import UsageError
from vlmcli.types.choose import YES_NO


def choose(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...] PROMPT", hidden=True),
    ] = None,
    *,
    prompt: PromptOptions,
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
    model: ModelOptions,
    page: PageOptions,
    output: OutputOptions,
) -> None:
    """Show how the model divides its answer among options.

    The last word is always the prompt. Text that is piped in goes before it.
    """
    choices = _options(option or (), yes_no, rate)
    it = ready(context, "choose", words, prompt, model, output, _EXAMPLE, page)
    it.sink.show(it.vlm.choose(*it.asked, choices, show_options=show_options, **it.how))


def _options(option: Sequence[str], yes_no: bool, rate: str | None) -> tuple[str, ...]:
    """The options, from the only one of three sources that was used. Raises UsageError."""
    if bool(option) + yes_no + (rate is not None) > 1:
        raise UsageError("--option, --yes-no and --rate exclude each other")
    if yes_no:
        return YES_NO
    if rate is not None:
        return rating(rate)
    if len(option) < 2:
        raise UsageError("there must be at least two options to choose from", f"for example: {_EXAMPLE}")
    if any(not text.strip() for text in option):
        raise UsageError("an option is empty")
    if len(set(option)) < len(option):
        raise UsageError("an option is given twice")
    return tuple(option)


_EXAMPLE = "vlm choose photo.jpg 'What is it?' --option 'a cat' --option 'a dog'"
