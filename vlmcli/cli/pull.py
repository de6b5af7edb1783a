"""vlm pull: download models before they are needed."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.options import QuietOptions
from vlmcli.cli.runtime import Runtime


def pull(
    context: typer.Context,
    *,
    names: Annotated[list[str], typer.Argument(metavar="MODEL...", hidden=True, autocompletion=options.complete_model)],
    output: QuietOptions,
) -> None:
    """Download what is missing of models, so that they can be used offline.

    A model is a name from 'vlm models' or a hub id (org/name, org/name@revision).
    """
    from vlmcli.catalog import Catalog
    from vlmcli.weights.kept import pull as pull_one

    runtime = Runtime.of(context)
    catalog = Catalog.load()
    progress = not output.quiet and runtime.stderr.isatty()
    output.sink(runtime).pulled(
        pull_one(name, catalog, progress=progress, hub=runtime.hub, packages=runtime.packages) for name in names
    )
