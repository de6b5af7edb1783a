"""Tables, bars and columns of a page: markup alone, nothing moves."""

from __future__ import annotations

from vlmcli.render.html.escape import text
from vlmcli.render.html.sections import Bar, Bars, Curve, Point, Tabled, Word, Words
from vlmcli.render.table import Table

_COLUMN = 24
"""Width of one column of a curve, in the units of its drawing."""
_HEIGHT = 120


def tabled(section: Tabled) -> str:
    """The tables of a section; folded ones stay readable where no script runs."""
    tables = "".join(table(one) for one in section.tables)
    if section.folded:
        return f'<details class="folded"><summary>{text(section.title)}</summary>{tables}</details>'
    return f"<h2>{text(section.title)}</h2>{tables}"


def table(content: Table) -> str:
    """One table, which scrolls by itself where it is wider than the page."""
    caption = f"<caption>{text(content.caption)}</caption>" if content.caption else ""
    sides = [' class="right"' if column.align == "right" else "" for column in content.columns]
    head = "".join(
        f'<th scope="col"{side}>{text(column.title)}</th>' for column, side in zip(content.columns, sides, strict=True)
    )
    rows = "".join(
        f"<tr>{''.join(f'<td{side}>{text(cell)}</td>' for cell, side in zip(row, sides, strict=True))}</tr>"
        for row in content.rows
    )
    body = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide" tabindex="0">{body}</div>{notes(content.notes)}'


def words(section: Words) -> str:
    """A grid of words, each the darker the more probable it is."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in (*section.names, *section.heads))
    rows = "".join(
        f"<tr>{''.join(f'<th>{text(name)}</th>' for name in names)}{''.join(map(_word, row))}</tr>"
        for names, row in section.rows
    )
    grid = f'<table class="words"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<h2>{text(section.title)}</h2><div class="wide" tabindex="0">{grid}</div>{notes(section.notes)}'


def _word(word: Word) -> str:
    level = sum(word.share >= least for least in (0.1, 0.3, 0.6, 0.9))
    title = f' title="{text(word.title)}"' if word.title else ""
    return f'<td class="w{level}"{title}><bdi>{text(word.text)}</bdi></td>'


def notes(lines: tuple[str, ...]) -> str:
    """Small print below something."""
    return f'<p class="notes">{"<br>".join(text(line) for line in lines)}</p>' if lines else ""


def bars(section: Bars) -> str:
    """Shares as bars, a row each."""
    rows = "".join(_bar(bar, number == 0) for number, bar in enumerate(section.bars))
    return f'<h2>{text(section.title)}</h2><ol class="bars">{rows}</ol>{notes(section.notes)}'


def _bar(bar: Bar, first: bool) -> str:
    more = f'<span class="more">{text(bar.more)}</span>' if bar.more else ""
    name = f'<span class="name"><bdi>{text(bar.name)}</bdi></span>'
    share = f'<span class="share">{text(bar.text)}</span>'
    return f"<li{' class=first' if first else ''}>{name}{drawn_share(bar.share)}{share}{more}</li>"


def drawn_share(share: float) -> str:
    """A bar as a drawing: the page's policy allows no style of an element's own."""
    width = f"{100 * min(max(share, 0.0), 1.0):.2f}" if share == share else "0"
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="all" width="100" height="10"/><rect class="part" width="{width}" height="10"/></svg>'
    )


def curve(section: Curve) -> str:
    """Columns side by side, each named on hover, with a line at the level they are compared with."""
    points = section.points
    width = _COLUMN * max(len(points), 1)
    columns = "".join(_column(number, point) for number, point in enumerate(points))
    level = _level(section.level, width) if section.level is not None else ""
    about = f'role="img" aria-label="{text(section.title)}"'
    box = f'viewBox="0 -4 {width} {_HEIGHT + 8}" preserveAspectRatio="none"'
    ends = [text(point.name) for point in (points[:1] + points[-1:] if len(points) > 1 else points)]
    named = "".join(f"<span>{name}</span>" for name in ends)
    return (
        f'<h2>{text(section.title)}</h2><svg class="curve" {about} {box}>{columns}{level}</svg>'
        f'<p class="ends">{named}</p>{notes(section.notes)}'
    )


def _column(number: int, point: Point) -> str:
    height = _HEIGHT * min(max(point.value, 0.0), 1.0)
    where = f'x="{_COLUMN * number + 2}" width="{_COLUMN - 4}"'
    title = f"<title>{text(point.name)}: {100 * point.value:.2f}%</title>"
    return (
        f'<g><rect class="all" {where} y="0" height="{_HEIGHT}"/>'
        f'<rect class="part" {where} y="{_HEIGHT - height:.2f}" height="{height:.2f}"/>{title}</g>'
    )


def _level(level: Point, width: int) -> str:
    y = f"{_HEIGHT * (1 - min(max(level.value, 0.0), 1.0)):.2f}"
    title = f"<title>{text(level.name)}: {100 * level.value:.2f}%</title>"
    return f'<line class="level" x1="0" x2="{width}" y1="{y}" y2="{y}">{title}</line>'
