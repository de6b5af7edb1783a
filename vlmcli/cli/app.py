"""The command ``vlm`` as Typer sees it: global options, and the commands in the order of the help page."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from vlmcli.cli import cache, models, options
from vlmcli.cli.ask import ask
from vlmcli.cli.attribute import attribute
from vlmcli.cli.bench import bench
from vlmcli.cli.check import check
from vlmcli.cli.choose import choose
from vlmcli.cli.classify import classify
from vlmcli.cli.compare import compare
from vlmcli.cli.compose import compose
from vlmcli.cli.detect import detect
from vlmcli.cli.draw import draw
from vlmcli.cli.embed import embed
from vlmcli.cli.groups import grouped
from vlmcli.cli.inspect import inspect
from vlmcli.cli.knockout import knockout
from vlmcli.cli.lens import lens
from vlmcli.cli.pull import pull
from vlmcli.cli.score import score
from vlmcli.cli.segment import segment
from vlmcli.cli.topk import topk
from vlmcli.cli.trace import trace
from vlmcli.cli.zeroshot import zeroshot


class WordsCommand(TyperCommand):
    """A command whose words have a grammar of their own (``IMAGE... [PROMPT]``), shown in the usage line as it is."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The options, then the metavar of the words."""
        words = [param.metavar for param in self.params if param.param_type_name == "argument"]
        return [self.options_metavar or "", *(word for word in words if word)]


# Without rich_markup_mode=None every help page would import Rich, which is slower than all the rest.
app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"vlm {version('vlmcli')}")
        except PackageNotFoundError:
            typer.echo("vlm (a checkout that is not installed)")
        raise typer.Exit


@app.callback()
def vlm(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: options.Debug = False,
) -> None:
    """A microscope for vision-language models: ask a model about an image, and see how it got there."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _command in (
    *(ask, topk, score, choose, check, attribute, trace, lens, knockout, compare),
    *(zeroshot, embed, classify, detect, segment, draw, inspect, bench, compose),
):
    app.command(cls=WordsCommand)(grouped(_command))
app.add_typer(models.app, name="models")
app.add_typer(cache.app, name="cache")
app.command(cls=WordsCommand)(grouped(pull))


def command() -> Any:
    """The command tree, ready for ``make_context`` and ``invoke``."""
    return get_command(app)
