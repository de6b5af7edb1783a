"""A distribution over options; and a yes or a no, which is one over two of them."""

from __future__ import annotations

from dataclasses import replace

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import as_lines, result_form
from vlmcli.render.html.sections import Bars, Content, Tabled, share_bars
from vlmcli.render.notes import Notes
from vlmcli.render.objects import (
    Object,
    clean,
    finite,
    result_object,
)
from vlmcli.render.table import Column, Table, without_column
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import (
    BAR_CELLS,
    bar,
    percent,
)
from vlmcli.types.choose import Choice, Choices, Verdict


def choices_table(result: Choices, terminal: Terminal) -> Table:
    """One row an option, the likeliest first, and their mass below."""
    orders = len(result.choices[0].by_order)
    columns = (
        Column("option"),
        Column("probability", "right"),
        Column(""),
        Column("normalized", "right"),
        Column("log-probability", "right"),
        Column("tokens", "right"),
        *(Column(f"order {number}", "right") for number in range(1, orders + 1)),
    )
    ranked = sorted(result.choices, key=lambda choice: choice.probability, reverse=True)
    rows = tuple(_choice_row(choice, terminal) for choice in ranked)
    mean = () if result.mean is None else (f"mean {result.mean:.2f}",)
    mass = f"option mass {percent(result.mass)}: what the model gives to these answers at all"
    return Table(columns, rows, notes=(*mean, mass))


def _choice_row(choice: Choice, terminal: Terminal) -> tuple[str, ...]:
    return (
        one_line(choice.option),
        percent(choice.probability),
        bar(choice.probability, terminal).ljust(BAR_CELLS),
        percent(choice.normalized),
        f"{choice.logprob:.3f}",
        str(choice.tokens),
        *map(percent, choice.by_order),
    )


def choices_object(result: Choices) -> Object:
    """Closed options: ``choices`` and their ``mass`` beside what every result has."""
    return {
        **result_object(result.model, result.images, result.usage, result.timings_ms),
        "answer": clean(result.best.option),
        "mass": finite(result.mass),
        "mean": result.mean,
        "choices": [choice_object(choice) for choice in result.choices],
    }


def choice_object(choice: Choice) -> Object:
    """One option."""
    return {
        "option": clean(choice.option),
        "logprob": finite(choice.logprob),
        "per_token": finite(choice.per_token),
        "probability": finite(choice.probability),
        "normalized": finite(choice.normalized),
        "tokens": choice.tokens,
        "by_order": list(choice.by_order),
    }


def _tables(result: Choices, terminal: Terminal) -> list[Table]:
    return [choices_table(result, terminal)]


def _word(verdict: Verdict, terminal: Terminal) -> list[str]:
    return [verdict.best.option]


def _mass(notes: Notes, result: Choices) -> None:
    notes.mass(result)


def _certainty(notes: Notes, verdict: Verdict) -> None:
    notes.mass(verdict)
    notes.certainty(verdict)


def _page(result: Choices) -> Content:
    ranked = sorted(result.choices, key=lambda choice: choice.probability, reverse=True)
    bars = share_bars((choice.option, choice.probability) for choice in ranked)
    table = choices_table(result, PAGE)
    plain = replace(without_column(table, 2), notes=())  # a page draws its own bars
    return Content((Bars("Options", bars, table.notes), Tabled("Figures", (plain,))))


FORM = result_form(as_lines(_tables), choices_object, after=_mass, page=_page)
VERDICT = result_form(_word, choices_object, after=_certainty, page=_page)
