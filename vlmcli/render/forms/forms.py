"""The table of forms: which room shows which kind of result."""

from __future__ import annotations

from typing import Any

from vlmcli.render.forms import (
    ask,
    attribute,
    bench,
    cache,
    choose,
    classify,
    compare,
    compose,
    detect,
    inspect,
    knockout,
    lens,
    models,
    score,
    segment,
    topk,
    trace,
    zeroshot,
)
from vlmcli.render.forms.form import Form
from vlmcli.types.ask import Answer
from vlmcli.types.attribute import Attribution
from vlmcli.types.bench import Speed
from vlmcli.types.cache import Cleared, FeatureCache
from vlmcli.types.choose import Choices, Verdict
from vlmcli.types.classify import Classification
from vlmcli.types.compare import Compared
from vlmcli.types.compose import Composed
from vlmcli.types.detect import Detections
from vlmcli.types.inspect import Anatomy
from vlmcli.types.knockout import Knockout
from vlmcli.types.lens import Lens
from vlmcli.types.models import Catalogue, ModelEntry, Removed
from vlmcli.types.score import Scored
from vlmcli.types.segment import Segmentation
from vlmcli.types.topk import TopK
from vlmcli.types.trace import Trace
from vlmcli.types.zeroshot import Zeroshot

_FORMS: dict[type, Form[Any]] = {
    Answer: ask.FORM,
    Anatomy: inspect.FORM,
    Attribution: attribute.FORM,
    Catalogue: models.CATALOGUE,
    Choices: choose.FORM,
    Classification: classify.FORM,
    Cleared: cache.CLEARED,
    Compared: compare.FORM,
    Composed: compose.FORM,
    Detections: detect.FORM,
    FeatureCache: cache.FORM,
    Knockout: knockout.FORM,
    Lens: lens.FORM,
    ModelEntry: models.ENTRY,
    Removed: models.REMOVED,
    Scored: score.FORM,
    Segmentation: segment.FORM,
    Speed: bench.FORM,
    TopK: topk.FORM,
    Trace: trace.FORM,
    Verdict: choose.VERDICT,
    Zeroshot: zeroshot.FORM,
}


def form_of(result: Any) -> Form[Any]:
    """How this result is shown."""
    return _FORMS[type(result)]
