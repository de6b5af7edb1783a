"""What an answer loses, window by window."""

from __future__ import annotations

from collections.abc import Iterator

from vlmcli.render.forms.form import Event, as_lines, result_form
from vlmcli.render.html.sections import Content, Curve, Mark, PageToken, Point, Tabled, Tokens
from vlmcli.render.objects import Object, clean, finite, result_object
from vlmcli.render.table import Column, Table, without_column
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import BAR_CELLS, bar, percent, probability, shown
from vlmcli.types.knockout import Knockout, Window

_METHOD = "cut: what the last position looks at itself; what other positions have read of the image still reaches it"


def knockout_table(result: Knockout, terminal: Terminal) -> Table:
    """One row a window of blocks, between nothing cut and everything cut."""
    columns = (
        Column("blocks"),
        Column("probability", "right"),
        Column(""),
        Column("change", "right"),
        Column("log-probability", "right"),
        Column("change", "right"),
    )
    rows = (
        _row("none", result.logprob, result, terminal),
        *(_row(_blocks(window), window.logprob, result, terminal) for window in result.windows),
        _row("all", result.everywhere.logprob, result, terminal),
    )
    where = "the image" if result.box is None else f"the box {','.join(f'{side:g}' for side in result.box)}"
    positions = f"{result.cut} image position{'' if result.cut == 1 else 's'}"
    caption = f"answer {shown(result.answer, terminal)} without a look at {where} ({positions})"
    return Table(columns, rows, caption, (_METHOD,))


def _blocks(window: Window) -> str:
    return str(window.first) if window.first == window.last else f"{window.first}-{window.last}"


def _row(name: str, logprob: float, result: Knockout, terminal: Terminal) -> tuple[str, ...]:
    share = Window(1, 1, logprob).probability
    cut = name != "none"
    return (
        name,
        probability(logprob),
        bar(share, terminal).ljust(BAR_CELLS),
        _signed(percent(share - result.probability)) if cut else "",
        f"{logprob:.3f}",
        _signed(f"{logprob - result.logprob:.3f}") if cut else "",
    )


def _signed(number: str) -> str:
    """With its sign, unless it is zero as it is written."""
    if not number.strip("-0.%"):
        return number.removeprefix("-")
    return number if number.startswith("-") else f"+{number}"


def knockout_object(result: Knockout) -> Object:
    """``windows`` and ``everywhere`` beside what every result has; blocks are counted from 1."""
    return {
        **result_object(result.model, result.images, result.usage, result.timings_ms),
        "answer": clean(result.answer),
        "tokens": [
            {"token": clean(token.token), "id": token.id, "logprob": finite(token.logprob)} for token in result.tokens
        ],
        "logprob": finite(result.logprob),
        "probability": finite(result.probability),
        "blocks": result.blocks,
        "cut": result.cut,
        "box": None if result.box is None else list(result.box),
        "windows": [window_object(window, result) for window in result.windows],
        "everywhere": window_object(result.everywhere, result),
    }


def window_object(window: Window, result: Knockout) -> Object:
    """One window; ``change`` is that of the probability."""
    return {
        "first": window.first,
        "last": window.last,
        "logprob": finite(window.logprob),
        "probability": finite(window.probability),
        "change": finite(window.probability - result.probability),
    }


def _tables(result: Knockout, terminal: Terminal) -> list[Table]:
    return [knockout_table(result, terminal)]


def _events(result: Knockout) -> Iterator[Event]:
    return (("window", window_object(window, result)) for window in result.windows)


def _page(result: Knockout) -> Content:
    tokens = tuple(PageToken(token.token, logprob=token.logprob) for token in result.tokens)
    points = tuple(Point(f"block {_blocks(window)}", window.probability) for window in result.windows)
    level = Point("nothing cut", result.probability)
    table = knockout_table(result, PAGE)
    everywhere = f"cut in all blocks: {probability(result.everywhere.logprob)}; the line: nothing cut"
    marks = () if result.box is None else (Mark(result.box, "cut off"),)
    return Content(
        (
            Tokens("Answer", tokens),
            Curve("Probability by the blocks that are cut", points, level, (everywhere, _METHOD)),
            Tabled("Window by window", (without_column(table, 2),), folded=True),
        ),
        marks=marks,
    )


FORM = result_form(as_lines(_tables), knockout_object, _events, page=_page)
