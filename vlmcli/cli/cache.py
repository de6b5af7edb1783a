"""vlm cache: the image features that are kept on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.checks import within
from vlmcli.cli.groups import grouped
from vlmcli.cli.options import QuietOptions
from vlmcli.cli.runtime import Runtime

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def cache(context: typer.Context) -> None:
    """Show or delete the image features that are kept on disk.

    An image is encoded once for a model: the next question about it skips the vision encoder.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("ls")
@grouped
def list_features(
    context: typer.Context,
    *,
    output: QuietOptions,
) -> None:
    """List what is kept, the most recently used first."""
    from vlmcli.models.feature_files import FeatureFiles

    output.sink(Runtime.of(context)).show(FeatureFiles.of_user().listed())


@app.command("rm")
@grouped
def remove_features(
    context: typer.Context,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", metavar="NAME", help="Only those of one model.", autocompletion=options.complete_model
        ),
    ] = None,
    output: QuietOptions,
) -> None:
    """Delete what is kept, without a question."""
    from vlmcli.models.feature_files import FeatureFiles

    sink = output.sink(Runtime.of(context))
    sink.show(FeatureFiles.of_user().remove(None if model is None else _ids(model)))


@app.command("prune")
@grouped
def prune_features(
    context: typer.Context,
    *,
    max_mb: Annotated[
        int | None,
        typer.Option(callback=within(0), metavar="N", help="Leave N megabytes.  [default: the cache's own limit]"),
    ] = None,
    output: QuietOptions,
) -> None:
    """Delete the least recently used until the rest fits into the limit."""
    from vlmcli.models.feature_files import FeatureFiles

    sink = output.sink(Runtime.of(context))
    sink.show(FeatureFiles.of_user().prune(None if max_mb is None else max_mb * 1_000_000))


def _ids(name: str) -> set[str]:
    """What entries of a model may be called: as 'vlm cache ls' shows it, or by its name in the catalogue."""
    from vlmcli.catalog import Catalog
    from vlmcli.weights.source import source_of

    spec = Catalog.load().get(name)
    return {name} if spec is None else {name, source_of(spec).id}
