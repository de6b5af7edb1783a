"""Images by a model's own labels."""

from __future__ import annotations

from collections.abc import Sequence

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import as_lines, per_image, result_form
from vlmcli.render.html.sections import Bars, Content, Tabled, share_bars
from vlmcli.render.objects import (
    Object,
    clean,
    finite,
    result_object,
)
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import (
    share,
)
from vlmcli.types.classify import Classification, ClassScore


def classify_tables(result: Classification, terminal: Terminal) -> list[Table]:
    """One table an image, the likeliest class first; the image is named where there are several."""
    named = len(result.images) > 1
    return [_classes_table(scores, named) for scores in per_image(result.scores, len(result.images))]


def _classes_table(scores: Sequence[ClassScore], named: bool) -> Table:
    several = any(score.sigmoid is not None for score in scores)
    columns = (
        Column("rank", "right"),
        Column("label"),
        Column("sigmoid (each on its own)" if several else "softmax (against the others)", "right"),
        Column("logit", "right"),
        Column("id", "right"),
    )
    rows = tuple(
        (str(rank), one_line(s.label), share(s.sigmoid if several else s.softmax), f"{s.logit:.3f}", str(s.id))
        for rank, s in enumerate(scores, start=1)
    )
    return Table(columns, rows, one_line(scores[0].image) if named else None)


def classification_object(result: Classification) -> Object:
    """Images by a classifier's own labels: ``scores`` beside what every result has."""
    scores = [class_object(score) for score in result.scores]
    common = result_object(result.model, result.images, result.usage, result.timings_ms)
    return {**common, "classes": result.classes, "scores": scores}


def class_object(score: ClassScore) -> Object:
    """One class of one image."""
    return {
        "image": clean(score.image),
        "id": score.id,
        "label": clean(score.label),
        "logit": finite(score.logit),
        "sigmoid": finite(score.sigmoid),
        "softmax": finite(score.softmax),
    }


def _page(result: Classification) -> Content:
    bars = tuple(_bars(scores) for scores in per_image(result.scores, len(result.images)))
    return Content((*bars, Tabled("Figures", tuple(classify_tables(result, PAGE)))))


def _bars(scores: Sequence[ClassScore]) -> Bars:
    """The classes of one image."""
    shares = [(score.label, score.softmax if score.sigmoid is None else score.sigmoid) for score in scores]
    return Bars(scores[0].image, share_bars(shares))


FORM = result_form(as_lines(classify_tables), classification_object, page=_page)
