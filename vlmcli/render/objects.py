"""Results as plain JSON values; SCHEMA_VERSION changes when a field changes its meaning or goes away.

Numbers that JSON cannot express (NaN, infinities) become null; sizes are [width, height] in pixels.
"""

from __future__ import annotations

import math
import re
from typing import Any

from vlmcli.errors import VlmError
from vlmcli.types.ask import Answer, TokenEvent
from vlmcli.types.cache import Cleared, FeatureCache, KeptFeatures
from vlmcli.types.choose import Choice, Choices
from vlmcli.types.classify import Classification, ClassScore
from vlmcli.types.compose import Composed
from vlmcli.types.embed import Embedding, EmbedTotals, Skipped
from vlmcli.types.inspect import Anatomy, Part
from vlmcli.types.models import ModelEntry, ModelFile, Pulled, Removed
from vlmcli.types.result import ImageInfo, ModelInfo, Start, TopToken, Usage
from vlmcli.types.score import Scored, ScoredToken
from vlmcli.types.topk import Position, TopK
from vlmcli.types.zeroshot import Score, Zeroshot

SCHEMA_VERSION = 1

_SURROGATES = re.compile("[\ud800-\udfff]")

Object = dict[str, Any]


def answer_object(answer: Answer) -> Object:
    """A whole answer: ``text`` and ``tokens`` beside what every result has."""
    tokens = [token_object(token) for token in answer.tokens]
    return {
        **_result(answer.model, answer.images, answer.usage, answer.timings_ms, answer.finish_reason),
        "text": clean(answer.text),
        "tokens": tokens,
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


def token_object(token: TokenEvent) -> Object:
    """A generated token in the form of OpenAI's ``logprobs.content``, with its ``id``."""
    return {
        "token": clean(token.token),
        "id": token.id,
        "logprob": finite(token.logprob),
        "bytes": list(token.bytes),
        "top_logprobs": [top_object(top) for top in token.top],
    }


def streamed_token_object(token: TokenEvent) -> Object:
    """A generated token as an event of its own: ``text`` is what it adds to the answer."""
    streamed = {"index": token.index, "text": clean(token.text), "elapsed_ms": finite(1000.0 * token.elapsed_s)}
    return {**streamed, **token_object(token)}


def top_object(top: TopToken) -> Object:
    """One candidate for a position."""
    return {"token": clean(top.token), "id": top.id, "logprob": finite(top.logprob), "bytes": list(top.bytes)}


def topk_object(result: TopK) -> Object:
    """Next-token probabilities: ``positions`` beside what every result has."""
    positions = [position_object(position) for position in result.positions]
    return {**_result(result.model, result.images, result.usage, result.timings_ms), "positions": positions}


def position_object(position: Position) -> Object:
    """One position; ``logprob``, ``rank`` and ``surprisal`` are those of the token that follows."""
    return {
        "index": position.index,
        "kind": position.kind,
        "count": position.count,
        "id": position.id,
        "token": clean(position.token),
        "next_id": position.next_id,
        "next_token": None if position.next_token is None else clean(position.next_token),
        "logprob": finite(position.logprob),
        "rank": position.rank,
        "entropy": finite(position.entropy),
        "surprisal": finite(position.surprisal),
        "top": [top_object(top) for top in position.top],
    }


def scored_object(result: Scored) -> Object:
    """A given answer: ``text``, its ``tokens`` and their sum beside what every result has."""
    return {
        **_result(result.model, result.images, result.usage, result.timings_ms),
        "text": clean(result.text),
        "logprob": finite(result.logprob),
        "per_byte": finite(result.per_byte),
        "size_bytes": result.size_bytes,
        "tokens": [scored_token_object(token) for token in result.tokens],
    }


def scored_token_object(token: ScoredToken) -> Object:
    """One token of a given answer: the form of ``ask``'s tokens, and what else is known of it."""
    return {
        "index": token.index,
        "token": clean(token.token),
        "id": token.id,
        "logprob": finite(token.logprob),
        "rank": token.rank,
        "entropy": finite(token.entropy),
        "surprisal": finite(token.surprisal),
        "bytes": list(token.bytes),
        "top_logprobs": [top_object(top) for top in token.top],
    }


def choices_object(result: Choices) -> Object:
    """Closed options: ``choices`` and their ``mass`` beside what every result has."""
    return {
        **_result(result.model, result.images, result.usage, result.timings_ms),
        "answer": clean(result.best.option),
        "mass": finite(result.mass),
        "mean": result.mean,
        "choices": [choice_object(choice) for choice in result.choices],
    }


def choice_object(choice: Choice) -> Object:
    """One option."""
    return {
        "option": clean(choice.option),
        "logprob": finite(choice.logprob),
        "per_token": finite(choice.per_token),
        "probability": finite(choice.probability),
        "normalized": finite(choice.normalized),
        "tokens": choice.tokens,
        "by_order": list(choice.by_order),
    }


def zeroshot_object(result: Zeroshot) -> Object:
    """Labels against images: ``scores`` beside what every result has."""
    scores = [score_object(score) for score in result.scores]
    return {**_result(result.model, result.images, result.usage, result.timings_ms), "scores": scores}


def score_object(score: Score) -> Object:
    """One image against one label."""
    return {
        "image": clean(score.image),
        "label": clean(score.label),
        "logit": finite(score.logit),
        "sigmoid": finite(score.sigmoid),
        "softmax": finite(score.softmax),
    }


def anatomy_object(anatomy: Anatomy) -> Object:
    """What a model is made of; ``parameters`` and ``size_bytes`` are the sums over its ``parts``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model_object(anatomy.model),
        "images": [image_object(image) for image in anatomy.images],
        "family": clean(anatomy.family),
        "method": anatomy.method,
        "parts": [part_object(part) for part in anatomy.parts],
        "parameters": anatomy.parameters,
        "size_bytes": anatomy.size_bytes,
        "licence": anatomy.licence,
        "patch": None if anatomy.patch is None else list(anatomy.patch),
        "image_size": None if anatomy.image_size is None else list(anatomy.image_size),
        "vocabulary": anatomy.vocabulary,
        "context": anatomy.context,
        "notes": [clean(note) for note in anatomy.notes],
    }


def part_object(part: Part) -> Object:
    """One part of a model."""
    return {
        "role": part.role,
        "architecture": clean(part.architecture),
        "modules": [clean(module) for module in part.modules],
        "layers": part.stack.layers,
        "width": part.stack.width,
        "heads": part.stack.heads,
        "kv_heads": part.stack.kv_heads,
        "parameters": part.parameters,
        "size_bytes": part.size_bytes,
        "dtype": part.dtype,
    }


def classification_object(result: Classification) -> Object:
    """Images by a classifier's own labels: ``scores`` beside what every result has."""
    scores = [class_object(score) for score in result.scores]
    common = _result(result.model, result.images, result.usage, result.timings_ms)
    return {**common, "classes": result.classes, "scores": scores}


def class_object(score: ClassScore) -> Object:
    """One class of one image."""
    return {
        "image": clean(score.image),
        "id": score.id,
        "label": clean(score.label),
        "logit": finite(score.logit),
        "sigmoid": finite(score.sigmoid),
        "softmax": finite(score.softmax),
    }


def embedding_object(embedding: Embedding) -> Object:
    """The unit vector of one image or text; nine digits are what a float32 needs to come back as it was."""
    of = embedding.of
    return {
        "kind": embedding.kind,
        "source": clean(embedding.source),
        "sha256": of.sha256,
        "size": list(of.original) if isinstance(of, ImageInfo) else None,
        "tokens": of.tokens,
        "vector": [float(f"{number:.9g}") for number in embedding.vector],
    }


def skipped_object(skipped: Skipped) -> Object:
    """An item that could not be used, and why."""
    hint = None if skipped.hint is None else clean(skipped.hint)
    error = {"type": skipped.error, "message": clean(skipped.message), "hint": hint}
    return {"source": clean(skipped.source), "error": error}


def embed_totals_object(totals: EmbedTotals, images: tuple[ImageInfo, ...], file: str | None) -> Object:
    """What embedding came to: everything but the vectors; ``file`` is where they were kept."""
    return {
        **_result(totals.model, images, totals.usage, totals.timings_ms),
        "file": None if file is None else clean(file),
        "dimensions": totals.dimensions,
        "counts": {"images": totals.images, "texts": totals.texts, "skipped": totals.skipped},
    }


def model_object(model: ModelInfo) -> Object:
    """Which weights answered, and where they ran."""
    return {
        "id": clean(model.id),
        "revision": model.revision,
        "dtype": model.dtype,
        "device": model.device,
        "notes": [clean(note) for note in model.notes],
    }


def composed_object(composed: Composed) -> Object:
    """A composition that was put together."""
    return {
        "name": clean(composed.name),
        "fusion": composed.fusion,
        "parts": [
            {"role": part.role, "source": clean(part.source), "parameters": part.parameters} for part in composed.parts
        ],
        "catalog": clean(str(composed.catalog)),
        "weights": None if composed.weights is None else clean(str(composed.weights)),
        "notes": [clean(note) for note in composed.notes],
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


def _result(
    model: ModelInfo,
    images: tuple[ImageInfo, ...],
    usage: Usage,
    timings_ms: dict[str, float],
    finish_reason: str | None = None,
) -> Object:
    return {
        **start_object(model, images, usage),
        "timings_ms": {name: finite(value) for name, value in timings_ms.items()},
        "finish_reason": finish_reason,
    }
