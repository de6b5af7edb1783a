"""Image features that are kept."""

from __future__ import annotations

from collections.abc import Iterator

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import Event, Form, simple_form
from vlmcli.render.notes import Notes
from vlmcli.render.objects import (
    SCHEMA_VERSION,
    Object,
    clean,
)
from vlmcli.render.table import Column, Table, table_lines
from vlmcli.render.terminal import Terminal
from vlmcli.render.words import (
    duration,
    entries,
    size,
)
from vlmcli.types.cache import Cleared, FeatureCache, KeptFeatures


def feature_cache_table(cache: FeatureCache) -> Table:
    """The image features that are kept, the most recently used first."""
    columns = (
        Column("entry"),
        Column("model"),
        Column("dtype"),
        Column("size", "right"),
        Column("unused for", "right"),
    )
    rows = tuple(
        (entry.key[:12], one_line(entry.model), entry.dtype, size(entry.size_bytes), duration(entry.age_s))
        for entry in cache.entries
    )
    return Table(columns, rows)


def feature_cache_line(cache: FeatureCache) -> str:
    """How much is kept of how much, and where."""
    return f"{entries(len(cache.entries))}, {size(cache.size_bytes)} of {size(cache.limit_bytes)}: {cache.folder}"


def cleared_line(cleared: Cleared) -> str:
    """How much is gone, and what is left."""
    gone = f"removed {entries(cleared.entries)}, {size(cleared.size_bytes)}"
    return one_line(f"{gone}; {entries(cleared.left)} left, {size(cleared.left_bytes)}: {cleared.folder}")


def feature_cache_object(cache: FeatureCache) -> Object:
    """What is kept of image features."""
    return {
        "folder": clean(cache.folder),
        "limit_bytes": cache.limit_bytes,
        "size_bytes": cache.size_bytes,
        "entries": [kept_features_object(entry) for entry in cache.entries],
    }


def kept_features_object(entry: KeptFeatures) -> Object:
    """The features of one image for one model."""
    return {
        "key": entry.key,
        "model": clean(entry.model),
        "revision": entry.revision,
        "dtype": entry.dtype,
        "size_bytes": entry.size_bytes,
        "age_s": round(entry.age_s, 3),
    }


def cleared_object(cleared: Cleared) -> Object:
    """What was deleted of image features, and what is left."""
    return {
        "folder": clean(cleared.folder),
        "entries": cleared.entries,
        "size_bytes": cleared.size_bytes,
        "left": cleared.left,
        "left_bytes": cleared.left_bytes,
    }


def _lines(cache: FeatureCache, terminal: Terminal) -> list[str]:
    return table_lines(feature_cache_table(cache), terminal) if cache.entries else []


def _events(cache: FeatureCache) -> Iterator[Event]:
    yield from (("features", kept_features_object(entry)) for entry in cache.entries)
    yield "done", feature_cache_object(cache)


def _how_much(notes: Notes, cache: FeatureCache) -> None:
    notes.note(feature_cache_line(cache))


def _object(cache: FeatureCache) -> Object:
    return {"schema_version": SCHEMA_VERSION, **feature_cache_object(cache)}


FORM = Form(_lines, _object, _events, after=_how_much)
CLEARED = simple_form("cleared", lambda cleared, terminal: [cleared_line(cleared)], cleared_object, nested=True)
