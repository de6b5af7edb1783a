"""What every result has, as plain JSON values; SCHEMA_VERSION changes when a field changes its meaning or goes away.

Numbers that JSON cannot express (NaN, infinities) become null; sizes are [width, height] in pixels.
"""

from __future__ import annotations

import math
import re
from typing import Any

from vlmcli.errors import VlmError
from vlmcli.types.result import ImageInfo, ModelInfo, Start, TopToken, Usage

SCHEMA_VERSION = 1

_SURROGATES = re.compile("[\ud800-\udfff]")

Object = dict[str, Any]


def result_object(
    model: ModelInfo,
    images: tuple[ImageInfo, ...],
    usage: Usage,
    timings_ms: dict[str, float],
    finish_reason: str | None = None,
) -> Object:
    """The fields that every result has."""
    return {
        **start_object(model, images, usage),
        "timings_ms": {name: finite(value) for name, value in timings_ms.items()},
        "finish_reason": finish_reason,
    }


def start_object(model: ModelInfo, images: tuple[ImageInfo, ...], usage: Usage) -> Object:
    """What is known before the first token."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model_object(model),
        "images": [image_object(image) for image in images],
        "usage": usage_object(usage),
    }


def started_object(start: Start) -> Object:
    """A Start event."""
    return start_object(start.model, start.images, start.usage)


def model_object(model: ModelInfo) -> Object:
    """Which weights answered, and where they ran."""
    return {
        "id": clean(model.id),
        "revision": model.revision,
        "dtype": model.dtype,
        "device": model.device,
        "notes": [clean(note) for note in model.notes],
    }


def image_object(image: ImageInfo) -> Object:
    """What became of one image; ``cached`` where features are kept."""
    return {
        "source": clean(image.source),
        "sha256": image.sha256,
        "original": list(image.original),
        "resized": None if image.resized is None else list(image.resized),
        "tokens": image.tokens,
        "notes": [clean(note) for note in image.notes],
    } | ({} if image.cached is None else {"cached": image.cached})


def usage_object(usage: Usage) -> Object:
    """Token counts."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "image_tokens": usage.image_tokens,
        "completion_tokens": usage.completion_tokens,
    }


def top_object(top: TopToken) -> Object:
    """One candidate for a position."""
    return {"token": clean(top.token), "id": top.id, "logprob": finite(top.logprob), "bytes": list(top.bytes)}


def error_object(error: VlmError) -> Object:
    """What went wrong: ``type`` is the name in the tree of errors.py."""
    hint = None if error.hint is None else clean(error.hint)
    return {
        "schema_version": SCHEMA_VERSION,
        "error": {"type": type(error).__name__, "message": clean(error.message), "hint": hint},
    }


def finite(value: float | None) -> float | None:
    """``value``, or None where JSON has no number for it."""
    return value if value is not None and math.isfinite(value) else None


def clean(text: str) -> str:
    """``text`` with lone surrogates, which UTF-8 cannot express, as U+FFFD: names of files may hold them."""
    return _SURROGATES.sub("\ufffd", text)
