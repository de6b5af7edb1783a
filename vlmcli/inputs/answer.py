"""The text of an answer -> the token ids with which a model would say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Ids = tuple[int, ...]


def ways(tokenizer: Any, texts: Sequence[str], before: int) -> tuple[tuple[Ids, ...], ...]:
    """The ways to write ``texts`` after a prompt that ends with the token ``before``: each the ids of every text.

    What a model says after its prompt need not be what the tokenizer makes of the text alone. SentencePiece puts a
    space before a text, right after ``ASSISTANT:`` and wrong after a line break; and after ``Assistant:`` byte-level
    models begin with a space, which people leave out. So there are up to three ways: the text alone, the text as it
    goes on after ``before``, the text after a space. No special tokens are added.
    """
    found = [tuple(_ids(tokenizer, text) for text in texts)]
    lead = str(tokenizer.decode([before], skip_special_tokens=False))
    continued = [_continued(_ids(tokenizer, lead), _ids(tokenizer, lead + text)) for text in texts]
    found.append(tuple(ids for ids in continued if ids))
    if all(text[:1].strip() for text in texts):
        found.append(tuple(_ids(tokenizer, f" {text}") for text in texts))
    return tuple(dict.fromkeys(way for way in found if len(way) == len(texts) and all(way)))


def _continued(lead: Ids, whole: Ids) -> Ids | None:
    """What of ``whole`` comes after ``lead``; None where the two have been merged into other tokens."""
    return whole[len(lead) :] if whole[: len(lead)] == lead else None


def _ids(tokenizer: Any, text: str) -> Ids:
    return tuple(tokenizer.encode(text, add_special_tokens=False))
