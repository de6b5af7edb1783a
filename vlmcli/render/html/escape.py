"""Text from models and files, made safe for a page: in markup, in a block of data, and for the eye."""

from __future__ import annotations

import html
import json
from typing import Any

from vlmcli.render.escape import strip_escapes, visible

_MARKUP = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def text(value: str) -> str:
    """``value`` for an element or for an attribute in double quotes; control characters are gone."""
    return html.escape(strip_escapes(value), quote=True)


def token_text(token: str, raw: bytes | None = None) -> str:
    """A token as it stands in an answer, not yet escaped: spaces are spaces, a line feed is an arrow, everything else
    that cannot be seen is spelt out.
    """
    if "\n" not in token:
        return visible(token, raw, space=" ") if token else ""
    return "↵".join(token_text(part) for part in token.split("\n"))


def island(value: Any) -> str:
    """``value`` as JSON inside of a ``<script type="application/json">``.

    Everything beyond ASCII is written as ``\\uNNNN``, U+2028 and lone surrogates among it, and so are the three
    characters with which markup could begin or end. Raises ValueError for NaN and infinities.
    """
    return json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":")).translate(_MARKUP)
