"""The answer token by token: buttons in the flow of the text, shaded by how unexpected each was; the script shows what
was expected instead of the one that is hovered, and selects its heat map.
"""

from __future__ import annotations

import math
from typing import Any

from vlmcli.render.html.escape import text, token_text
from vlmcli.render.html.sections import PageToken, Tokens
from vlmcli.render.html.table import notes
from vlmcli.render.words import probability
from vlmcli.types.result import TopToken

_LEVELS = (0.9, 0.5, 0.1, 0.01)
"""Probabilities at which the shade changes: the less expected, the darker."""


def tokens(section: Tokens, number: int) -> str:
    """The text, and the place for what is known of one token; ``number`` counts the sections of this kind."""
    flow = "".join(_button(token, i) for i, token in enumerate(section.tokens))
    shades = "".join(f'<span class="shade s{level}">{name}</span>' for level, name in enumerate(_shade_names()))
    legend = f'<p class="shades"><span>probability</span>{shades}</p>' if _is_shaded(section) else ""
    return (
        f'<h2>{text(section.title)}</h2><div class="tokens" data-tokens="{number}">'
        f'<div class="flow" role="group" aria-label="{text(section.title)}">{flow}</div>{legend}'
        f'<div class="expected" aria-live="polite"></div></div>{notes(section.notes)}'
    )


def data(section: Tokens) -> list[dict[str, Any]]:
    """What the script shows of each token: finished texts, and shares for the bars."""
    return [_token_data(token) for token in section.tokens]


def _button(token: PageToken, index: int) -> str:
    shade = "" if token.logprob is None else f" s{_level(token.logprob)}"
    mapped = " mapped" if token.map is not None else ""
    label = f"<bdi>{text(_label(token))}</bdi>"
    line_end = "<br>" if token.token.endswith("\n") else ""
    return (
        f'<button type="button" class="token {token.kind}{shade}{mapped}" data-token="{index}" aria-pressed="false">'
        f"{label}</button>{line_end}"
    )


def _label(token: PageToken) -> str:
    if token.kind == "open":
        return "?"
    label = token_text(token.token, token.bytes) or ("image" if token.kind == "image" else "∅")
    return f"{label} ×{token.count}" if token.count > 1 else label


def _token_data(token: PageToken) -> dict[str, Any]:
    logprob = token.logprob
    facts = [] if logprob is None else [["probability", probability(logprob)]]
    if token.rank is not None:
        facts.append(["rank", str(token.rank)])
    if logprob is not None:
        facts.append(["surprisal", f"{-logprob:.3f} nats"])
    if token.entropy is not None:
        facts.append(["entropy", f"{token.entropy:.3f} nats"])
    said = None if logprob is None else _candidate(_label(token), logprob, said=True)
    top = [_top(top, token) for top in token.top]
    if said is not None and top and not any(candidate["said"] for candidate in top):
        top.append(said | {"rank": token.rank})
    return {"label": _label(token), "facts": facts + [list(pair) for pair in token.details], "top": top, "map": token.map}


def _top(top: TopToken, token: PageToken) -> dict[str, Any]:
    said = token.logprob is not None and (top.token, top.bytes) == (token.token, token.bytes)
    return _candidate(token_text(top.token, top.bytes) or "∅", top.logprob, said=said)


def _candidate(label: str, logprob: float, *, said: bool) -> dict[str, Any]:
    return {"label": label, "share": _share(logprob), "text": probability(logprob), "said": said}


def _share(logprob: float) -> float:
    return float(f"{math.exp(min(logprob, 0.0)):.4g}") if logprob == logprob else 0.0


def _level(logprob: float) -> int:
    share = _share(logprob)
    return next((level for level, least in enumerate(_LEVELS) if share >= least), len(_LEVELS))


def _shade_names() -> list[str]:
    percents = [f"{100 * least:g}%" for least in _LEVELS]
    return [*(f"≥ {percent}" for percent in percents), f"below {percents[-1]}"]


def _is_shaded(section: Tokens) -> bool:
    return any(token.logprob is not None for token in section.tokens)
