"""What an answer rests on in an image."""

from __future__ import annotations

from collections.abc import Iterator

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import Event, result_form
from vlmcli.render.html.sections import Content, HeatMap, PageToken, Tabled, Tokens
from vlmcli.render.notes import Notes
from vlmcli.render.objects import Object, clean, finite, result_object, top_object
from vlmcli.render.overlay import half_blocks, shades
from vlmcli.render.table import Column, Table, table_lines
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import probability, shown, token_text
from vlmcli.types.attribute import AttributedToken, Attribution, Faithfulness, Grid, Method, Reliance

_COLUMNS = 48
_LITTLE = 0.5
"""Nats a token: below it, the image makes the answer less than 1.65 times as likely as a blank one does."""

MEANINGS: dict[Method, str] = {
    "occlusion": "nats of log-probability that the answer loses when a window around the cell is painted over",
    "ablation": "nats of log-probability that the answer loses when the embeddings around the cell become their mean",
    "gradient": "nats of log-probability that the cell's embeddings add, to first order",
    "integrated": "nats of log-probability that the cell's embeddings add over their mean",
    "attention": "the share of what the last position knows that came from the cell, by attention rollout",
    "tam": "activation: how much the cell's slots would say the word themselves, without what context explains",
}


def attribution_lines(result: Attribution, terminal: Terminal) -> Iterator[str]:
    """The map over the picture, what it says, then the tokens with what the image adds to each."""
    if terminal.colour and terminal.unicode:
        yield from half_blocks(result.picture, result.grid, _COLUMNS)
    else:
        yield from shades(result.grid, terminal.unicode)
    yield ""
    row, column = result.peak
    strongest = f"row {row}, column {column} of {len(result.grid)} x {len(result.grid[0])}"
    yield f"{result.method} of {_subject(result)}: strongest at {strongest} ({result.grid[row][column]:.3g})"
    if result.faithfulness is not None:
        yield from _judged(result.faithfulness)
    yield ""
    yield from table_lines(_tokens_table(result, terminal), terminal)


def _subject(result: Attribution) -> str:
    return "the answer" if result.token is None else f"token {result.token}"


def _judged(judged: Faithfulness) -> Iterator[str]:
    yield f"deletion  {judged.deletion:.3f} (random order {judged.random_deletion:.3f}; lower is better)"
    yield f"insertion {judged.insertion:.3f} (random order {judged.random_insertion:.3f}; higher is better)"


def _tokens_table(result: Attribution, terminal: Terminal) -> Table:
    titles = ("probability", "vs blank", "vs noised", "vs shuffled")
    columns = (Column("index", "right"), Column("token"), *(Column(title, "right") for title in titles))
    rows = tuple(_token_row(token, terminal) for token in result.tokens)
    return Table(columns, rows, notes=("vs: what the image adds to the log-probability, in nats",))


def _token_row(token: AttributedToken, terminal: Terminal) -> tuple[str, ...]:
    reliance = (token.reliance.blank, token.reliance.noised, token.reliance.shuffled)
    return (
        str(token.index),
        token_text(token.token, token.bytes, terminal),
        probability(token.logprob),
        *(f"{value:+.3f}" for value in reliance),
    )


def attribution_object(result: Attribution) -> Object:
    """``grid`` and the tokens' own maps, beside what every result has."""
    judged = result.faithfulness
    return {
        **result_object(result.model, result.images, result.usage, result.timings_ms),
        "text": clean(result.text),
        "method": result.method,
        "meaning": MEANINGS[result.method],
        "of": result.of,
        "token": None if result.token is None else token_object(result.tokens[result.token], grid=False),
        "grid": _rows(result.grid),
        "peak": list(result.peak),
        "reliance": finite(result.reliance),
        "faithfulness": None if judged is None else _faithfulness_object(judged),
        "tokens": [token_object(token) for token in result.tokens],
        "notes": list(result.notes),
    }


def token_object(token: AttributedToken, grid: bool = True) -> Object:
    """One token of the answer; its own map with ``grid``."""
    return {
        "index": token.index,
        "token": clean(token.token),
        "id": token.id,
        "logprob": finite(token.logprob),
        "rank": token.rank,
        "entropy": finite(token.entropy),
        "bytes": list(token.bytes),
        "top_logprobs": [top_object(top) for top in token.top],
        "reliance": {
            "blank": finite(token.reliance.blank),
            "noised": finite(token.reliance.noised),
            "shuffled": finite(token.reliance.shuffled),
        },
    } | ({"grid": _rows(token.grid)} if grid else {})


def _faithfulness_object(judged: Faithfulness) -> Object:
    return {
        "deletion": finite(judged.deletion),
        "insertion": finite(judged.insertion),
        "random_deletion": finite(judged.random_deletion),
        "random_insertion": finite(judged.random_insertion),
        "steps": judged.steps,
        "orders": judged.orders,
    }


def _rows(grid: Grid) -> list[list[float | None]]:
    """Six digits: more are not known, and a float32 has no more."""
    return [[None if finite(value) is None else float(f"{value:.6g}") for value in row] for row in grid]


def _events(result: Attribution) -> Iterator[Event]:
    return (("token", token_object(token)) for token in result.tokens)


def _remarks(result: Attribution) -> tuple[str, ...]:
    """What has to be known before anybody believes the map."""
    if result.reliance >= _LITTLE:
        return result.notes
    little = (
        f"the image adds {result.reliance:.2f} nats a token: {one_line(repr(result.text))} came from the language "
        "model, and the map says little"
    )
    return (*result.notes, little)


def _after(notes: Notes, result: Attribution) -> None:
    for text in _remarks(result):
        notes.note(text)


def _page(result: Attribution) -> Content:
    """The tokens, each with its own map, and the whole answer's."""
    unit = "nats" if result.method in ("occlusion", "ablation", "gradient", "integrated") else ""

    def heat(title: str, grid: Grid) -> HeatMap:
        grids = tuple(grid if number == result.of else None for number in range(len(result.images)))
        return HeatMap(title, grids, unit)

    maps = [heat(f"{result.method}: {_subject(result)}", result.grid)]
    maps += [heat(f"{result.method}: {shown(token.token, PAGE)}", token.grid) for token in result.tokens]
    tokens = tuple(
        PageToken(
            *(token.token, token.bytes, token.logprob, token.rank, token.entropy, token.top, number),
            details=_details(token.reliance),
        )
        for number, token in enumerate(result.tokens, start=1)
    )
    judged = _judged(result.faithfulness) if result.faithfulness else ()
    notes = (f"the map: {MEANINGS[result.method]}", *judged, *_remarks(result))
    table = Tabled("Token by token", (_tokens_table(result, PAGE),), folded=True)
    return Content((Tokens("Answer", tokens, notes), table), tuple(maps))


def _details(reliance: Reliance) -> tuple[tuple[str, str], ...]:
    spoiled = (("blank", reliance.blank), ("noised", reliance.noised), ("shuffled", reliance.shuffled))
    return tuple((f"image, against {name}", f"{value:+.3f} nats") for name, value in spoiled)


FORM = result_form(attribution_lines, attribution_object, _events, _after, _page)
