"""vlm cache: the image features, and the quantised weights, that are kept on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.checks import within
from vlmcli.cli.groups import grouped
from vlmcli.cli.options import QuietOptions
from vlmcli.cli.runtime import Runtime

if TYPE_CHECKING:
    from vlmcli.models.feature_files import FeatureFiles

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def cache(context: typer.Context) -> None:
    """Show or delete the image features and the quantised weights that are kept on disk.

    An image is encoded once for a model: the next question about it skips the vision encoder. Weights are quantised
    once: the next start with --quantize finds them.
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
    features, weights = (files.listed() for files in _files())
    if weights.entries:
        features = features.joined(weights)
    output.sink(Runtime.of(context)).show(features)


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
    sink = output.sink(Runtime.of(context))
    features, weights = (files.remove(None if model is None else _ids(model)) for files in _files())
    sink.show(features.joined(weights))


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
    sink = output.sink(Runtime.of(context))
    features, weights = _files()
    left = features.prune(None if max_mb is None else max_mb * 1_000_000)
    rest = None if max_mb is None else max(max_mb * 1_000_000 - left.left_bytes, 0)
    sink.show(left.joined(weights.prune(rest)))


def _files() -> tuple[FeatureFiles, FeatureFiles]:
    """Where features are kept, and where quantised weights are."""
    from vlmcli.models.feature_files import FeatureFiles

    return FeatureFiles.of_user(), FeatureFiles.of_weights()


def _ids(name: str) -> set[str]:
    """What entries of a model may be called: as 'vlm cache ls' shows it, or by its name in the catalogue."""
    from vlmcli.catalog import Catalog
    from vlmcli.weights.source import source_of

    spec = Catalog.load().get(name)
    return {name} if spec is None else {name, source_of(spec).id}
