"""What a model's name stands for: a place where its weights come from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from vlmcli.catalog import Catalog, ModelSpec
from vlmcli.errors import ModelNotFound

Scheme = Literal["builtin", "path", "hub", "pypi", "composition"]

_HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from: ``place`` is a folder, a file, ``org/name`` or ``NAME==VERSION``, as ``scheme`` says.

    A composition has no place of its own: see ``part_names``.

    ``id`` is what results call the model.
    """

    scheme: Scheme
    place: str
    id: str
    revision: str | None = None
    spec: ModelSpec | None = None


def source_of(spec: ModelSpec) -> Source:
    """Return the source of a model of the catalogue."""
    scheme, _, place = spec.source.partition(":")
    name = place if scheme in ("hub", "path") else spec.name
    return Source(cast(Scheme, scheme), place, name, spec.revision, spec)


def part_names(source: Source) -> dict[str, str]:
    """Return the models that a composition takes its parts from, by the part; none for any other source."""
    composition = source.spec.composition if source.spec else None
    if composition is None:
        return {}
    roles = {"vision": composition.vision, "projector": composition.projector, "decoder": composition.decoder}
    return {role: part.source for role, part in roles.items() if part.source is not None}


def locate(name: str | os.PathLike[str], catalog: Catalog) -> Source:
    """Return the source that ``name`` means: a name in the catalogue, a local folder or GGUF file, or a hub id.

    A hub id is ``org/name`` or ``org/name@revision``. Raises ModelNotFound, with the nearest names.
    """
    if not isinstance(name, str):
        return Source("path", os.fspath(name), os.fspath(name))
    if spec := catalog.get(name):
        return source_of(spec)
    if _is_path(name):
        return Source("path", str(Path(name).expanduser()), name)
    if match := _HUB_ID.fullmatch(name):
        known = catalog.by_source(f"hub:{match['repo']}")
        revision = match["revision"] or (known.revision if known else None)
        return Source("hub", match["repo"], match["repo"], revision, known)
    raise ModelNotFound(f"no model is called {name!r}", _did_you_mean(name, catalog))


def _is_path(text: str) -> bool:
    """Tell a path from a hub id: it exists, or it is spelt as only a path can be."""
    if text.lower().endswith(".gguf"):
        return True
    spelt_as_path = text.startswith((".", "~", os.sep)) or text.endswith(os.sep) or text.count("/") > 1 or "\\" in text
    return (text != "" and Path(text).is_dir()) or (spelt_as_path and not _HUB_ID.fullmatch(text))


def _did_you_mean(name: str, catalog: Catalog) -> str:
    near = catalog.nearest(name)
    return f"did you mean {', '.join(near)}?" if near else "see: vlm models list; or name a folder or a hub id org/name"
