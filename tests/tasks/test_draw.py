"""Drawing as a stream of events: seeds, settings, PNG files."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from vlmcli.errors import InputError, UsageError
from vlmcli.tasks.draw import draw
from vlmcli.types.draw import Brush, Drawn, DrawnToken, DrawStart, DrawTotals


def drawn(vlm: Any, brush: Brush, **options: Any) -> list[Drawn]:
    return [event for event in draw(vlm, "a red fox", brush, **options) if isinstance(event, Drawn)]


def test_events_in_their_order(model: Any) -> None:
    events = list(draw(model("janus"), "a red fox", Brush(seed=3), count=2, load_ms=5.0))
    start, end = events[0], events[-1]
    assert isinstance(start, DrawStart) and isinstance(end, DrawTotals) and end.start is start
    assert start.brush == Brush(5.0, 1.0, 1.0, 0, 0.0, 3), "the model's own values take the place of None"
    assert [type(event) for event in events[1:-1]] == ([DrawnToken] * 16 + [Drawn]) * 2
    assert list(end.timings_ms) == ["load", "prepare", "draw", "develop", "total"] and end.timings_ms["load"] == 5
    picture = events[17]
    assert isinstance(picture, Drawn) and list(picture.tokens) == events[1:17]
    with Image.open(io.BytesIO(picture.png)) as image:
        assert image.format == "PNG" and image.mode == "RGB" and image.size == picture.size == start.size


@pytest.mark.parametrize(("family", "size"), [("janus", None), ("emu3", "32x32")])
def test_each_image_has_its_seed(model: Any, family: str, size: str | None) -> None:
    vlm = model(family)
    alone = [drawn(vlm, Brush(seed=seed), size=size)[0] for seed in (5, 6, 7)]
    for batch_size in (1, 2, 3):
        several = drawn(vlm, Brush(seed=5), size=size, count=3, batch_size=batch_size)
        assert [each.seed for each in several] == [5, 6, 7]
        assert [each.png for each in several] == [each.png for each in alone]
    assert len({each.png for each in alone}) == 3


def test_a_seed_that_nobody_gave_is_told(model: Any) -> None:
    vlm = model("janus")
    first, second = drawn(vlm, Brush())[0], drawn(vlm, Brush())[0]
    assert first.seed != second.seed
    assert drawn(vlm, Brush(seed=first.seed))[0].png == first.png


def test_closing_stops_the_work(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmcli.models.drawing import Drawer

    steps = []
    extend = Drawer.extend
    monkeypatch.setattr(Drawer, "extend", lambda self, *given: (steps.append(1), extend(self, *given)))
    events = draw(model("janus"), "a red fox", Brush())
    for _ in range(4):  # the start and three tokens
        next(events)
    events.close()  # type: ignore[attr-defined]
    assert len(steps) == 2


def test_what_is_refused(model: Any) -> None:
    cases: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        ("llava", {}, UsageError, "cannot draw"),
        ("janus", {"count": 0}, UsageError, "at least 1"),
        ("janus", {"brush": Brush(guidance=-1.0)}, UsageError, "guidance must be 0 or more"),
        ("janus", {"brush": Brush(temperature=-1.0)}, UsageError, "temperature"),
        ("janus", {"prompt": " "}, InputError, "the prompt is empty"),
        ("emu3", {"brush": Brush(guidance=1.0), "negative": "blurry"}, UsageError, "negative prompt changes nothing"),
    ]
    for family, given, kind, words in cases:
        options = {"prompt": "a red fox", "brush": Brush(), **given}
        with pytest.raises(kind, match=words):
            next(draw(model(family), options.pop("prompt"), options.pop("brush"), **options))
