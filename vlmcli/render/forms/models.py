"""The catalogue, and what was fetched or removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import Event, Form, simple_form
from vlmcli.render.objects import (
    SCHEMA_VERSION,
    Object,
    clean,
)
from vlmcli.render.table import Column, Table, table_lines
from vlmcli.render.terminal import Terminal
from vlmcli.render.words import (
    UNKNOWN,
    count,
    size,
    yes_no,
)
from vlmcli.types.models import Catalogue, ModelEntry, ModelFile, Pulled, Removed


def models_table(entries: Sequence[ModelEntry]) -> Table:
    """The catalogue, one model a row."""
    titles = ("name", "kind", "parameters", "licence", "cached", "source")
    columns = tuple(Column(title, "right" if title == "parameters" else "left") for title in titles)
    rows = tuple(_model_row(entry) for entry in entries)
    return Table(columns, rows, notes=("* used when no model is named",) if any(e.default for e in entries) else ())


def _model_row(entry: ModelEntry) -> tuple[str, ...]:
    name = one_line(entry.name) + (" *" if entry.default else "")
    size, licence = count(entry.parameters), one_line(entry.licence or UNKNOWN)
    return name, entry.kind, size, licence, yes_no(entry.cached), one_line(entry.source)


def model_lines(entry: ModelEntry) -> list[str]:
    """Everything that the catalogue says of one model, a field a line."""
    fields = {
        "name": entry.name,
        "description": entry.description,
        "kind": entry.kind,
        "commands": ", ".join(entry.commands) or UNKNOWN,
        "parameters": count(entry.parameters),
        "licence": entry.licence or UNKNOWN,
        "source": entry.source,
        "revision": entry.revision or UNKNOWN,
        "cached": yes_no(entry.cached),
        "default": yes_no(entry.default),
        "defined in": f"the {entry.defined_in} catalogue",
    } | ({"folder": entry.folder} if entry.folder else {})
    return [f"{name:<12}{one_line(text)}" for name, text in fields.items()]


def files_table(files: Sequence[ModelFile]) -> Table:
    """The files of a checkpoint, with their checksums."""
    columns = (Column("file"), Column("size", "right"), Column("sha256"))
    return Table(columns, tuple((one_line(f.name), size(f.size_bytes), f.sha256 or UNKNOWN) for f in files))


def pulled_line(pulled: Pulled) -> str:
    """What was fetched of a model, how large it is, and where it stands."""
    whole = sum(file.size_bytes for file in pulled.files)
    fetched = sum(file.size_bytes for file in pulled.fetched)
    if not pulled.fetched:
        done = f"already there, {size(whole)}"
    else:
        done = f"fetched {size(fetched)}" + (f" of {size(whole)}" if fetched < whole else "")
    return one_line(f"{pulled.name}: {done} in {_files(pulled.fetched or pulled.files)}: {pulled.folder}")


def _files(files: Sequence[ModelFile]) -> str:
    return f"{len(files)} file" + ("s" if len(files) != 1 else "")


def removed_line(removed: Removed) -> str:
    """How many bytes are free again, and where they were."""
    return one_line(f"{removed.name}: removed {size(removed.size_bytes)}: {removed.folder}")


def entry_object(entry: ModelEntry) -> Object:
    """One model of the catalogue; ``folder`` and ``files`` where they were asked for."""
    kept = {"folder": entry.folder, "files": [file_object(file) for file in entry.files]} if entry.files else {}
    return {
        "name": entry.name,
        "kind": entry.kind,
        "source": entry.source,
        "revision": entry.revision,
        "licence": entry.licence,
        "parameters": entry.parameters,
        "description": entry.description,
        "defined_in": entry.defined_in,
        "cached": entry.cached,
        "default": entry.default,
        "commands": list(entry.commands),
        **kept,
    }


def file_object(file: ModelFile) -> Object:
    """One file of a checkpoint."""
    return {"name": clean(file.name), "size_bytes": file.size_bytes, "sha256": file.sha256}


def pulled_object(pulled: Pulled) -> Object:
    """A model that is complete now: ``files``, and the names of those that were ``fetched`` for it."""
    return {
        "name": clean(pulled.name),
        "id": clean(pulled.id),
        "revision": pulled.revision,
        "folder": clean(pulled.folder),
        "files": [file_object(file) for file in pulled.files],
        "fetched": [clean(file.name) for file in pulled.fetched],
        "fetched_bytes": sum(file.size_bytes for file in pulled.fetched),
    }


def removed_object(removed: Removed) -> Object:
    """Downloads that are gone."""
    return {"name": clean(removed.name), "folder": clean(removed.folder), "size_bytes": removed.size_bytes}


def catalogue_object(catalogue: Catalogue) -> Object:
    """All models that are known."""
    return {"schema_version": SCHEMA_VERSION, "models": [entry_object(entry) for entry in catalogue.entries]}


def _catalogue_lines(catalogue: Catalogue, terminal: Terminal) -> list[str]:
    return table_lines(models_table(catalogue.entries), terminal)


def _catalogue_events(catalogue: Catalogue) -> Iterator[Event]:
    return (("model", entry_object(entry)) for entry in catalogue.entries)


def _entry_lines(entry: ModelEntry, terminal: Terminal) -> list[str]:
    listed = ["", *table_lines(files_table(entry.files), terminal)] if entry.files else []
    return [*model_lines(entry), *listed]


CATALOGUE = Form(_catalogue_lines, catalogue_object, _catalogue_events)
ENTRY = simple_form("model", _entry_lines, entry_object)
REMOVED = simple_form("removed", lambda removed, terminal: [removed_line(removed)], removed_object, nested=True)
