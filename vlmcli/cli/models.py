"""vlm models: what the catalogue knows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from vlmcli.cli import options
from vlmcli.cli.kinds import commands_for
from vlmcli.cli.options import OutputOptions
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import ModelNotFound
from vlmcli.types.models import Catalogue, ModelEntry

if TYPE_CHECKING:
    from vlmcli.catalog import Catalog, ModelSpec

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def models(
    context: typer.Context,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    debug: options.Debug = False,
) -> None:
    """Show the models that have a name.

    They come with vlm, or from the models.toml in your own config folder.
    """
    if context.invoked_subcommand is None:
        _list(Runtime.of(context), _output(context, json, jsonl))


@app.command("list")
def list_models(
    context: typer.Context,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    debug: options.Debug = False,
) -> None:
    """List all models."""
    _list(Runtime.of(context), _output(context, json, jsonl))


@app.command("show")
def show_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True, autocompletion=options.complete_model)],
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    debug: options.Debug = False,
) -> None:
    """Show all that is known about one model, and the files that are here."""
    from vlmcli.catalog import Catalog

    catalog = Catalog.load()
    spec = catalog.get(name)
    if spec is None:
        nearest = ", ".join(catalog.nearest(name))
        raise ModelNotFound(f"no model named {name!r}", f"near to it: {nearest}" if nearest else "see: vlm models")
    runtime = Runtime.of(context)
    entry = _with_files(_entry(spec, _defaults(catalog)), spec, runtime)
    _output(context, json, jsonl).sink(runtime).show(entry)


@app.command("rm")
def remove_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True, autocompletion=options.complete_model)],
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    debug: options.Debug = False,
) -> None:
    """Delete what was downloaded of one model, without a question.

    Built-in models and folders of your own stay.
    """
    from vlmcli.catalog import Catalog
    from vlmcli.weights.kept import remove

    runtime = Runtime.of(context)
    sink = _output(context, json, jsonl).sink(runtime)
    sink.show(remove(name, Catalog.load(), hub=runtime.hub))


def _output(context: typer.Context, json: bool, jsonl: bool) -> OutputOptions:
    """The output options, which may stand before the subcommand too."""
    before = context.parent.params if context.parent else {}
    return OutputOptions(json or bool(before.get("json")), jsonl or bool(before.get("jsonl")))


def _list(runtime: Runtime, output: OutputOptions) -> None:
    from vlmcli.catalog import Catalog

    catalog = Catalog.load()
    defaults = _defaults(catalog)
    output.sink(runtime).show(Catalogue(tuple(_entry(spec, defaults) for spec in catalog.specs())))


def _defaults(catalog: Catalog) -> set[str]:
    from vlmcli.errors import UsageError

    names = set()
    for kind in {spec.kind for spec in catalog.specs()}:
        try:
            names.add(catalog.default(kind).name)
        except UsageError:
            continue
    return names


def _entry(spec: ModelSpec, defaults: set[str]) -> ModelEntry:
    from vlmcli.weights.kept import cached

    return ModelEntry(
        name=spec.name,
        kind=spec.kind,
        source=spec.source,
        revision=spec.revision,
        licence=spec.licence,
        parameters=spec.parameters,
        description=spec.description,
        defined_in=spec.defined_in,
        cached=cached(spec),
        default=spec.name in defaults,
        commands=commands_for(spec),
    )


def _with_files(entry: ModelEntry, spec: ModelSpec, runtime: Runtime) -> ModelEntry:
    from vlmcli.weights.kept import described, kept
    from vlmcli.weights.source import source_of

    there = kept(source_of(spec), hub=runtime.hub)
    if there is None:
        return entry
    folder = None if spec.source.startswith("builtin:") else str(there.folder)
    return replace(entry, folder=folder, files=described(there))
