"""Text from models and files, made safe to print: a terminal acts on escape sequences, so none may pass.

The grammar is that of ECMA-48 (Control Functions for Coded Character Sets, 1991), with the operating-system commands
of xterm's control sequences document.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

State = Literal["text", "escape", "intermediate", "csi", "string"]
"""``escape``: after ESC; ``intermediate``: ESC and 0x20-0x2F; ``csi``: after ESC [; ``string``: inside OSC, DCS, ..."""

_INTRODUCERS: dict[str, State] = {
    "\x1b": "escape",
    "\x9b": "csi",
    "\x90": "string",
    "\x98": "string",
    "\x9d": "string",
    "\x9e": "string",
    "\x9f": "string",
}
_STRING_STARTS = "]PX^_"
_CANCEL = "\x18\x1a"
_STRING_END = "\a\x9c"
_KEPT_CONTROLS = "\n\t"
_SPACES = " \u2581"
"""The second one is the word mark of SentencePiece, in case a tokenizer hands out raw pieces."""


class TerminalFilter:
    """Drops escape sequences and control characters from a text that arrives in chunks, wherever the chunks are cut.

    ``\\n`` and ``\\t`` stay; lone surrogates, which no output encoding can express, become U+FFFD.
    """

    def __init__(self) -> None:
        self._state: State = "text"

    def feed(self, chunk: str) -> str:
        """The part of ``chunk`` that may be printed."""
        return "".join(self._take(character) for character in chunk)

    def _take(self, character: str) -> str:
        self._state, shown = _step(self._state, character)
        return shown


def strip_escapes(text: str) -> str:
    """``text`` without escape sequences and control characters, for a text that is complete."""
    return TerminalFilter().feed(text)


def one_line(text: str) -> str:
    """``text`` on one line, safe to print: messages and names that come from files or from libraries."""
    return " ".join(strip_escapes(text).split())


def visible(token: str, raw: bytes | None = None, *, space: str = "·") -> str:
    """A token as a table shows it: spaces as ``space``, control characters as escapes, half characters as ``\\xNN``.

    ``raw`` are the token's bytes; they say what stands behind U+FFFD when a token is a part of a character.
    """
    if raw is not None and "\ufffd" in token:
        token = raw.decode("utf-8", errors="backslashreplace")
    return "".join(_visible_character(character, space) for character in token) or "''"


def _visible_character(character: str, space: str) -> str:
    if character in _SPACES:
        return space
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"):
        return character.encode("unicode_escape").decode("ascii")
    return character


def _step(state: State, character: str) -> tuple[State, str]:
    """The state after ``character``, and what of it may be printed."""
    if character in _INTRODUCERS:
        return _INTRODUCERS[character], ""
    if character in _CANCEL:
        return "text", ""
    if state == "string":
        return _in_string(character)
    if state == "csi":
        return _in_csi(character)
    return _in_escape(state, character)


def _in_string(character: str) -> tuple[State, str]:
    # A line feed ends the string too: no command holds one, and a command that is never closed must not
    # swallow the rest of an answer.
    if character == "\n":
        return "text", character
    return ("text" if character in _STRING_END else "string"), ""


def _in_csi(character: str) -> tuple[State, str]:
    if " " <= character <= "?":
        return "csi", ""
    return "text", ("" if "@" <= character <= "~" else _printable(character))


def _in_escape(state: State, character: str) -> tuple[State, str]:
    if state == "text":
        return "text", _printable(character)
    if state == "escape" and character == "[":
        return "csi", ""
    if state == "escape" and character in _STRING_STARTS:
        return "string", ""
    if " " <= character <= "/":
        return "intermediate", ""
    return "text", ("" if "0" <= character <= "~" else _printable(character))


def _printable(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    return character if category != "Cc" or character in _KEPT_CONTROLS else ""
