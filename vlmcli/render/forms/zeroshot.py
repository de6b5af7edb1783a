"""Labels against images."""

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
from vlmcli.types.zeroshot import Score, Zeroshot


def zeroshot_tables(result: Zeroshot, terminal: Terminal) -> list[Table]:
    """One table an image, the best label first; the image is named where there are several."""
    named = len(result.images) > 1
    return [_scores_table(scores, named) for scores in per_image(result.scores, len(result.images))]


def _scores_table(scores: Sequence[Score], named: bool) -> Table:
    columns = (
        Column("label"),
        Column("sigmoid (each on its own)", "right"),
        Column("softmax (against the others)", "right"),
        Column("logit", "right"),
    )
    ranked = sorted(scores, key=lambda score: score.logit, reverse=True)
    rows = tuple((one_line(s.label), share(s.sigmoid), share(s.softmax), f"{s.logit:.3f}") for s in ranked)
    return Table(columns, rows, one_line(scores[0].image) if named else None)


def zeroshot_object(result: Zeroshot) -> Object:
    """Labels against images: ``scores`` beside what every result has."""
    scores = [score_object(score) for score in result.scores]
    return {**result_object(result.model, result.images, result.usage, result.timings_ms), "scores": scores}


def score_object(score: Score) -> Object:
    """One image against one label."""
    return {
        "image": clean(score.image),
        "label": clean(score.label),
        "logit": finite(score.logit),
        "sigmoid": finite(score.sigmoid),
        "softmax": finite(score.softmax),
    }


def _page(result: Zeroshot) -> Content:
    bars = tuple(_bars(scores) for scores in per_image(result.scores, len(result.images)))
    return Content((*bars, Tabled("Figures", tuple(zeroshot_tables(result, PAGE)))))


def _bars(scores: Sequence[Score]) -> Bars:
    """The labels of one image: each on its own where the model can judge so, else against the others."""
    ranked = sorted(scores, key=lambda score: score.logit, reverse=True)
    alone = all(score.sigmoid is not None for score in scores)
    shares = [(score.label, score.softmax if score.sigmoid is None else score.sigmoid) for score in ranked]
    return Bars(scores[0].image, share_bars(shares), ("each label on its own" if alone else "the labels together",))


FORM = result_form(as_lines(zeroshot_tables), zeroshot_object, page=_page)
