"""Token ids -> text that may be printed now, and the bytes that one token stands for.

A character can span several tokens (byte-level BPE, SentencePiece's byte fallback) and a token's leading space
depends on what came before, so tokens are never decoded one by one for the stream.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"

# The window that is decoded anew for each token: it restarts, with some tokens of context, when it gets this long.
_WINDOW_TOKENS, _CONTEXT_TOKENS = 256, 32


@cache
def _byte_of_char() -> dict[str, int]:
    """Byte-level BPE's printable stand-ins: the inverse of ``bytes_to_unicode`` in GPT-2 (2019)."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in set(kept)]
    return {chr(byte): byte for byte in kept} | {chr(256 + i): byte for i, byte in enumerate(moved)}


class Vocabulary:
    """What single tokens say."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._added = frozenset(added)
        self.special = frozenset(id for id, token in added.items() if token.special)
        decoders = _decoders(tokenizer)
        self._byte_level = "ByteLevel" in decoders
        self._byte_fallback = "ByteFallback" in decoders

    def token(self, id: int) -> str:
        """The token as text, its leading space included; bytes that are no UTF-8 become U+FFFD."""
        return self.bytes(id).decode("utf-8", errors="replace")

    def bytes(self, id: int) -> bytes:
        """The bytes that the token contributes (special tokens: their name); ids beyond the vocabulary: ``[id]``."""
        piece = self._piece(id)
        if piece is None:
            return f"[{id}]".encode()
        if id in self._added:
            return piece.encode()
        if self._byte_level:
            table = _byte_of_char()
            return b"".join(bytes([table[c]]) if c in table else c.encode() for c in piece)
        if match := _BYTE_TOKEN.fullmatch(piece):
            return bytes([int(match[1], 16)])
        return piece.replace("\u2581", " ").encode()

    def is_byte(self, id: int) -> bool:
        """Whether this is one byte of a run that SentencePiece's byte fallback decodes together."""
        return self._byte_fallback and bool(_BYTE_TOKEN.fullmatch(self._piece(id) or ""))

    def decode(self, ids: list[int]) -> str:
        """The text of ``ids``, special tokens left out."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _piece(self, id: int) -> str | None:
        try:
            piece = self._tokenizer.convert_ids_to_tokens(id)
        except (IndexError, KeyError, OverflowError):
            return None
        return None if piece is None else str(piece)


class Detokenizer:
    """A stream of token ids as a stream of text.

    The pieces joined equal ``tokenizer.decode`` of all ids (up to a stop string); no piece splits a character, and
    none contains text that might be the beginning of a stop string.
    """

    def __init__(self, vocabulary: Vocabulary, stop: Iterable[str] = ()) -> None:
        self._vocabulary = vocabulary
        self._stop = tuple(filter(None, stop))
        self._window: list[int] = []
        self._released = 0  # characters of the window's text that have left it
        self._pending = ""  # characters that left the window and wait for a stop string
        self.stopped = False

    def add(self, id: int) -> str:
        """Take one more token; the text that is certain by now."""
        if self.stopped or id in self._vocabulary.special:
            return ""  # decoding skips it too, and what stands around it may still be one character
        self._window.append(id)
        if self._vocabulary.is_byte(id):
            return ""
        text = self._vocabulary.decode(self._window)
        certain = len(text.rstrip(_UNFINISHED))
        piece = text[self._released : certain]
        self._released = max(self._released, certain)
        if len(self._window) > _WINDOW_TOKENS and certain == len(text):
            self._restart()
        return self._release(piece)

    def flush(self) -> str:
        """The rest, when no token will follow: unfinished characters as they decode, no stop string in it."""
        if self.stopped:
            return ""
        rest = self._vocabulary.decode(self._window)[self._released :]
        self._released += len(rest)
        text = self._release(rest)
        text, self._pending = text + self._pending, ""
        return text

    def _restart(self) -> None:
        """Keep a few tokens as context, so that the next token's leading space comes out right."""
        self._window = self._window[-_CONTEXT_TOKENS:]
        self._released = len(self._vocabulary.decode(self._window))

    def _release(self, piece: str) -> str:
        """Pass ``piece`` on, but for a stop string and what may become one."""
        text = self._pending + piece
        found = [at for at in map(text.find, self._stop) if at >= 0]
        if found:
            self.stopped, self._pending = True, ""
            return text[: min(found)]
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._pending = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


def _decoders(tokenizer: Any) -> frozenset[str]:
    """The names of the decoding steps of a tokenizer that the ``tokenizers`` library runs."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return frozenset()
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    return frozenset(step["type"] for step in [decoder, *decoder.get("decoders", ())] if "type" in step)
