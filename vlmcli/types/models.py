"""The catalogue, and what is on this machine of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a checkpoint, named as in its folder; ``sha256`` is None where nobody asked for it."""

    name: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is complete on this machine now: its ``files``, and those of them that were ``fetched`` for it."""

    name: str
    id: str
    revision: str | None
    folder: str
    files: tuple[ModelFile, ...]
    fetched: tuple[ModelFile, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """Downloads that are gone: ``folder`` and everything in it."""

    name: str
    folder: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One line of the catalogue, as a front end shows it; ``parameters`` is a count, None where it is not known.

    ``commands`` are those of ``vlm`` that fit a model of this kind.
    ``folder`` and ``files`` say what is on this machine, where that was asked for; a built-in model names no folder.
    """

    name: str
    kind: str
    source: str
    revision: str | None
    licence: str | None
    parameters: int | None
    description: str
    defined_in: str
    cached: bool
    default: bool = False
    commands: tuple[str, ...] = ()
    folder: str | None = None
    files: tuple[ModelFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models that are known."""

    entries: tuple[ModelEntry, ...]
