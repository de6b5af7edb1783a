"""The stages of the machine, one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from vlmcli.render.forms.form import Event, result_form
from vlmcli.render.html.sections import Content, PageToken, Segment, Stages, Tokens
from vlmcli.render.objects import Object, clean, finite, result_object
from vlmcli.render.table import Column, Table, table_lines
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import UNKNOWN, shown, size
from vlmcli.types.trace import Figures, Stage, Trace

_STRIP_CELLS = 60
_LISTED_RUNS = 9
"""With more runs of text and image than that, their sums are told."""


def _lines(result: Trace, terminal: Terminal) -> list[str]:
    table = table_lines(stages_table(result, terminal), terminal)
    return [*table, *strip_lines(result, terminal), *map(terminal.dim, result.notes)]


def stages_table(result: Trace, terminal: Terminal) -> Table:
    """One row a stage; what cannot be seen says why in the place of its figures."""
    figures = (Column(title, "right") for title in ("min", "mean", "max", "NaN"))
    columns = (
        Column("stage"),
        Column("shape"),
        Column("dtype"),
        *figures,
        Column(""),
        Column("ms", "right"),
        Column("peak", "right"),
    )
    steps = itertools.count(1)
    rows = tuple(
        _row(f"step {next(steps)}" if stage.name == "step" else stage.name, stage, terminal) for stage in result.stages
    )
    return Table(columns, rows)


def _row(name: str, stage: Stage, terminal: Terminal) -> tuple[str, ...]:
    remark = shown(stage.token, terminal) if stage.token is not None else stage.note
    ms = UNKNOWN if stage.ms is None else f"{stage.ms:.1f}"
    return (name, *_figures(stage.figures), remark, ms, size(stage.peak_bytes))


def _figures(figures: Figures | None) -> tuple[str, ...]:
    if figures is None:
        return (UNKNOWN,) * 6
    shapes = dict.fromkeys(" x ".join(map(str, shape)) for shape in figures.shapes)
    several = f"{len(figures.shapes)} of " if len(figures.shapes) > 1 and len(shapes) == 1 else ""
    numbers = (figures.low, figures.mean, figures.high)
    return (
        several + ", ".join(shapes),
        figures.dtype,
        *(UNKNOWN if number is None else f"{number:.4g}" for number in numbers),
        str(figures.nans),
    )


def strip_lines(result: Trace, terminal: Terminal) -> list[str]:
    """The sequence that the decoder reads as a strip, to scale, and what stands in it."""
    length = sum(run.count for run in result.sequence)
    if not length:
        return []
    text, image = ("░", "█") if terminal.unicode else (".", "#")
    edges = [round(_STRIP_CELLS * run.start / length) for run in result.sequence] + [_STRIP_CELLS]
    cells = "".join(
        (image if run.kind == "image" else text) * (end - start)
        for run, start, end in zip(result.sequence, edges, edges[1:], strict=False)
    )
    width = UNKNOWN if result.width is None else str(result.width)
    return ["", f"sequence 1 x {length} x {width} (B x T x D): {_contents(result, text, image)}", cells]


def _contents(result: Trace, text: str, image: str) -> str:
    signs = {"text": text, "image": image}
    if len(result.sequence) <= _LISTED_RUNS:
        return ", ".join(f"{signs[run.kind]} {run.kind} {run.count}" for run in result.sequence)
    sums = []
    for kind, sign in signs.items():
        runs = [run.count for run in result.sequence if run.kind == kind]
        sums.append(f"{sign} {kind} {sum(runs)} in {len(runs)} runs")
    return ", ".join(sums)


def trace_object(result: Trace) -> Object:
    """``stages`` and ``sequence`` beside what every result has."""
    return {
        **result_object(result.model, result.images, result.usage, result.timings_ms),
        "stages": [stage_object(stage) for stage in result.stages],
        "sequence": [{"kind": run.kind, "start": run.start, "count": run.count} for run in result.sequence],
        "width": result.width,
        "notes": [clean(note) for note in result.notes],
    }


def stage_object(stage: Stage) -> Object:
    """One stage; its figures are null where it cannot be seen, and ``note`` says why."""
    seen = stage.figures
    return {
        "name": stage.name,
        "shapes": [] if seen is None else [list(shape) for shape in seen.shapes],
        "dtype": None if seen is None else seen.dtype,
        "min": None if seen is None else finite(seen.low),
        "mean": None if seen is None else finite(seen.mean),
        "max": None if seen is None else finite(seen.high),
        "nan": None if seen is None else seen.nans,
        "ms": finite(stage.ms),
        "peak_bytes": stage.peak_bytes,
        "token": None if stage.token is None else clean(stage.token),
        "note": stage.note,
    }


def _events(result: Trace) -> Iterator[Event]:
    return (("stage", stage_object(stage)) for stage in result.stages)


def _page(result: Trace) -> Content:
    segments = tuple(Segment(run.kind, run.count) for run in result.sequence)
    times: dict[str, float] = {}
    for stage in result.stages:
        if stage.ms is not None:
            times[stage.name] = times.get(stage.name, 0.0) + stage.ms
    steps = sum(stage.name == "step" for stage in result.stages)
    timings = tuple((f"{steps} steps" if name == "step" and steps > 1 else name, ms) for name, ms in times.items())
    said = tuple(PageToken(stage.token) for stage in result.stages if stage.token is not None)
    answer = (Tokens("Answer", said),) if said else ()
    return Content((*answer, Stages("Stages", segments, timings, stages_table(result, PAGE), result.notes)))


FORM = result_form(_lines, trace_object, _events, page=_page)
