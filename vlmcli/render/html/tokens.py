"""The answer token by token: buttons in the flow of the text, shaded by how unexpected each was; the script shows what
was expected instead of the one that is hovered, and selects its heat map.
"""

from __future__ import annotations

import math
from typing import Any

from vlmcli.render.escape import visible
from vlmcli.render.html.escape import text, token_text
from vlmcli.render.html.sections import PageToken, Tokens
from vlmcli.render.html.table import notes
from vlmcli.render.words import nats, probability
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
    return f"{label} x{token.count}" if token.count > 1 else label


def _token_data(token: PageToken) -> dict[str, Any]:
    top = [_candidate(one.token, one.bytes, one.logprob, said=_is_said(one, token)) for one in token.top]
    if token.logprob is not None and top and not any(candidate["said"] for candidate in top):
        top.append(_candidate(token.token, token.bytes, token.logprob, said=True))
    return {"label": _name(token), "facts": _facts(token), "top": top, "map": token.map}


def _facts(token: PageToken) -> list[tuple[str, str]]:
    facts = [] if token.logprob is None else [("probability", probability(token.logprob))]
    if token.rank is not None:
        facts.append(("rank", str(token.rank)))
    if token.logprob is not None:
        facts.append(("surprisal", f"{nats(-token.logprob)} nats"))
    if token.entropy is not None:
        facts.append(("entropy", f"{nats(token.entropy)} nats"))
    return [*facts, *token.details]


def _is_said(top: TopToken, token: PageToken) -> bool:
    return token.logprob is not None and (top.token, top.bytes) == (token.token, token.bytes)


def _candidate(token: str, raw: bytes | None, logprob: float, *, said: bool) -> dict[str, Any]:
    return {"label": visible(token, raw), "share": _share(logprob), "text": probability(logprob), "said": said}


def _name(token: PageToken) -> str:
    """A token by itself, where its spaces have to be seen."""
    return _label(token) if token.kind != "text" or not token.token else visible(token.token, token.bytes)


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
