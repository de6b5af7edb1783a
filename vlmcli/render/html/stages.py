"""What happened in which order: the sequence that the decoder reads as a strip, and the time of each stage."""

from __future__ import annotations

from collections.abc import Iterable

from vlmcli.render.html.escape import text
from vlmcli.render.html.sections import Segment, Stages
from vlmcli.render.html.table import notes, table

_WIDTH = 1000
"""Of a strip, in the units of its drawing."""


def stages(section: Stages) -> str:
    """The strip of positions, the strip of times, the table of figures: those that there are."""
    sequence = _sequence(section.segments) if section.segments else ""
    times = _times(section.timings_ms) if section.timings_ms else ""
    figures = table(section.table) if section.table is not None else ""
    return f"<h2>{text(section.title)}</h2>{sequence}{times}{figures}{notes(section.notes)}"


def _sequence(segments: tuple[Segment, ...]) -> str:
    parts = [(f"kind-{segment.kind}", segment.count, _segment_name(segment)) for segment in segments]
    total = sum(segment.count for segment in segments)
    return _strip(f"{total:,} positions", parts)


def _segment_name(segment: Segment) -> str:
    named = f" {segment.name}" if segment.name else ""
    return f"{segment.kind}{named} {segment.count:,}"


def _times(timings_ms: tuple[tuple[str, float], ...]) -> str:
    parts = [(f"time-{number % 6}", ms, f"{name} {_ms(ms)}") for number, (name, ms) in enumerate(timings_ms)]
    return _strip(_ms(sum(ms for _, ms in timings_ms)), parts)


def _ms(ms: float) -> str:
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def _strip(whole: str, parts: Iterable[tuple[str, float, str]]) -> str:
    """Parts of a whole as one bar, each (class, size, name), and their names below it."""
    parts = [part for part in parts if part[1] > 0]
    scale = _WIDTH / (sum(size for _, size, _ in parts) or 1.0)
    drawn, x = "", 0.0
    for kind, size, name in parts:
        where = f'x="{x:.2f}" width="{size * scale:.2f}" height="20"'
        drawn += f'<rect class="{kind}" {where}><title>{text(name)}</title></rect>'
        x += size * scale
    names = "".join(f'<li><span class="key {kind}"></span>{text(name)}</li>' for kind, _, name in parts)
    return (
        f'<div class="strip"><svg viewBox="0 0 {_WIDTH} 20" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'
        f'<ul class="keys"><li class="whole">{text(whole)}</li>{names}</ul></div>'
    )
