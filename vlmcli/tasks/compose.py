"""Put a model together from parts, and keep it under a name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmcli.catalog import Catalog, ModelSpec, append, parse
from vlmcli.errors import UsageError, VlmError
from vlmcli.models.assemble import save_between
from vlmcli.models.composition import Composition
from vlmcli.models.load import load
from vlmcli.types.compose import Composed, PartSize
from vlmcli.weights.resolve import resolve

_PARTS = ("vision", "projector", "cross_attention", "decoder")


def compose(name: str, table: Mapping[str, Any], catalog: Catalog, path: Path) -> Composed:
    """Build the composition that ``table`` declares, save what it adds to its parts, and write it into ``path``.

    A projector and gated layers that have no weights start random. They are saved beside ``path`` as NAME.safetensors,
    to be trained, and the entry names that file. The entry comes last: a failure leaves none behind.

    Raises UsageError for a table that makes no sense or a name that is taken, ModelError for parts that do not fit,
    ModelNotFound, Offline, VlmError where a file cannot be written.
    """
    if (taken := catalog.get(name)) is not None:
        raise UsageError(f"{name!r} is in the catalogue already ({taken.source})", "choose another name")
    spec = parse(name, dict(table), path)
    vlm = load(resolve(name, catalog.adding(spec)), device="cpu")
    model: Composition = vlm.model
    entry, kept = dict(table), None
    if model.random:
        kept = path.with_name(f"{name}.safetensors")
        _save(model, kept)
        own = entry.get("projector", {})
        entry["projector"] = {**({"kind": own} if isinstance(own, str) else own), "from": kept.name}
    try:
        append(name, entry, path)
    except VlmError:
        if kept is not None:
            kept.unlink(missing_ok=True)
        raise
    return Composed(name, model.fusion, _sizes(model, spec), path, kept, vlm.info.notes)


def _save(model: Composition, file: Path) -> None:
    if file.exists():
        raise UsageError(f"{file} is there already", "choose another name, or take that file away")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_between(model, file, model.random)
    except OSError as error:
        raise VlmError(f"cannot write {file}: {error.strerror}") from error


def _sizes(model: Composition, spec: ModelSpec) -> tuple[PartSize, ...]:
    """The parts in the order of the diagram, each with its source and its parameters, tied ones once."""
    assert spec.composition is not None
    sizes = []
    for name in _PARTS:
        part = getattr(model, name)
        if part is None:
            continue
        declared = getattr(spec.composition, "projector" if name == "cross_attention" else name)
        source = "random" if name in model.random else str(declared.file or declared.source or "the pixels alone")
        sizes.append(PartSize(name.replace("_", "-"), source, sum(p.numel() for p in part.parameters())))
    return tuple(sizes)
