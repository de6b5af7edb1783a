"""Texts that a text encoder reads whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlmcli.errors import ContextOverflow


def encoded_whole(
    tokenizer: Any, text: str, limit: int, *, what: str = "text", hint: str = "shorten it"
) -> Mapping[str, Any]:
    """What the tokenizer makes of a text. Raises ContextOverflow for one of more than ``limit`` tokens."""
    encoded: Mapping[str, Any] = tokenizer(text)
    if (length := len(encoded["input_ids"])) > limit:
        raise ContextOverflow(f"the {what} {text[:40]!r} takes {length} tokens, and the model reads {limit}", hint=hint)
    return encoded
