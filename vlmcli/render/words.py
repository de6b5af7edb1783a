"""Figures and tokens as a person reads them: with which digits, units and signs."""

from __future__ import annotations

import math

from vlmcli.render.escape import visible
from vlmcli.render.terminal import Terminal
from vlmcli.types.result import TopToken

BAR_CELLS = 20
_EIGHTHS = " ▏▎▍▌▋▊▉"
UNKNOWN = "-"


def duration(seconds: float) -> str:
    """A time span as people say it, rounded down: 40 s, 5 min, 3 h, 12 d."""
    for limit, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{int(seconds // limit)} {unit}"
    return f"{int(seconds)} s"


def size(size_bytes: int | None) -> str:
    """A number of bytes as people write it, in powers of ten: 98.4 MB."""
    if size_bytes is None:
        return UNKNOWN
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= limit:
            return f"{size_bytes / limit:.1f} {unit}"
    return f"{size_bytes} B"


def probability(logprob: float) -> str:
    """A probability in per cent, from its natural logarithm."""
    return f"{100.0 * math.exp(logprob):.2f}%"


def count(number: int | None) -> str:
    """A number of parameters as people write it: 8.1M, 2.2B."""
    if number is None:
        return UNKNOWN
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return str(number)


def bar(share: float, terminal: Terminal) -> str:
    """A bar for a share between 0 and 1; any share above 0 shows at least its first step."""
    if not terminal.unicode:
        return "#" * round(share * BAR_CELLS)
    eighths = max(round(share * BAR_CELLS * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def fixed_bar(top: TopToken, terminal: Terminal) -> str:
    """A candidate's bar, padded: the column is as wide in every table, and ids stand under each other."""
    return bar(math.exp(top.logprob), terminal).ljust(BAR_CELLS)


def percent(share: float) -> str:
    """A share as a percentage."""
    return f"{100.0 * share:.2f}%"


def share(value: float | None) -> str:
    """A share between 0 and 1, with four digits."""
    return UNKNOWN if value is None else f"{value:.4f}"


def nats(value: float | None) -> str:
    """A quantity of information."""
    return UNKNOWN if value is None else f"{value:.3f}"


def top_text(top: TopToken, terminal: Terminal) -> str:
    """A candidate's token, made visible."""
    return token_text(top.token, top.bytes, terminal)


def token_text(token: str, raw: bytes, terminal: Terminal) -> str:
    """A token whose bytes are known, made visible."""
    return visible(token, raw, space=_space(terminal))


def shown(token: str, terminal: Terminal) -> str:
    """A token's text, made visible."""
    return visible(token, space=_space(terminal))


def _space(terminal: Terminal) -> str:
    return "·" if terminal.unicode else "_"


def entries(number: int) -> str:
    """How many entries."""
    return f"{number} {'entry' if number == 1 else 'entries'}"


def yes_no(value: bool) -> str:
    """A truth as a word."""
    return "yes" if value else "no"
