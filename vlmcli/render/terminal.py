"""What a stream can show: colour, and characters beyond ASCII."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Terminal:
    """The abilities of one output stream."""

    colour: bool = False
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO, environment: Mapping[str, str] | None = None) -> Terminal:
        """Look at the stream, at NO_COLOR (no-color.org), FORCE_COLOR and TERM."""
        environment = os.environ if environment is None else environment
        return cls(colour=_wants_colour(stream, environment), unicode=_is_unicode(stream))

    def bold(self, text: str) -> str:
        """``text`` in bold where there is colour."""
        return self._styled(text, "1")

    def dim(self, text: str) -> str:
        """``text`` dimmed where there is colour."""
        return self._styled(text, "2")

    def red(self, text: str) -> str:
        """``text`` in bold red where there is colour."""
        return self._styled(text, "1;31")

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


PAGE = Terminal(colour=False, unicode=True)
"""What tables are made for that end up on a page."""


def _wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def _is_unicode(stream: TextIO) -> bool:
    # A stream without an encoding (io.StringIO) takes any character.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return encoding.lower().replace("_", "-").startswith(("utf", "cp65001"))
