"""An answer is a start, its tokens, and the whole again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.image import load_image
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.models.features import FeatureStore
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.ask import ask
from vlmcli.tasks.request import Request
from vlmcli.tasks.topk import topk
from vlmcli.types.ask import Answer, TokenEvent
from vlmcli.types.chat import Message, Sampling
from vlmcli.types.result import Start


def request(images: int = 2, **options: Any) -> Request:
    loaded = tuple(load_image(tiny.picture(seed)) for seed in range(images))
    return Request((Message("user", "What is it?", images),), loaded, **options)


def test_start_tokens_answer(model: Any) -> None:
    start, *tokens, answer = ask(model("llava"), request(), Sampling(max_tokens=9))
    assert isinstance(start, Start) and isinstance(answer, Answer)
    assert all(isinstance(event, TokenEvent) for event in tokens)
    assert answer.tokens == tuple(tokens) and len(tokens) == 9 and answer.finish_reason == "length"
    assert answer.text == "".join(event.text for event in tokens if isinstance(event, TokenEvent))
    assert answer.images == start.images and answer.model == start.model == model("llava").info


def test_usage(model: Any) -> None:
    start, *_, answer = ask(model("llava"), request(), Sampling(max_tokens=4))
    assert isinstance(start, Start) and isinstance(answer, Answer)
    assert (start.usage.image_tokens, start.usage.completion_tokens) == (32, 0)
    assert start.usage.prompt_tokens > 32
    assert answer.usage.completion_tokens == 4 and answer.usage.prompt_tokens == start.usage.prompt_tokens


def test_whether_features_were_kept(model: Any, tmp_path: Path) -> None:
    vlm = model("llava")
    store = FeatureStore("these", vlm.info, FeatureFiles(tmp_path))
    keeping = Vlm(vlm.model, vlm.processor, vlm.info, vlm.template, store)
    for images, cached in ((1, [False]), (2, [True, False]), (2, [True, True])):
        start, *_, answer = ask(keeping, request(images), Sampling(max_tokens=2))
        assert isinstance(start, Start) and isinstance(answer, Answer)
        assert [image.cached for image in answer.images] == cached and answer.images == start.images
    assert [image.cached for image in topk(keeping, request(2)).images] == [True, True]


def test_what_became_of_the_images(model: Any) -> None:
    start = next(ask(model("llava"), request(), Sampling()))
    assert isinstance(start, Start)
    assert [(info.original, info.resized, info.tokens) for info in start.images] == [((40, 32), (32, 32), 16)] * 2
    assert len({info.sha256 for info in start.images}) == 2


def test_timings(model: Any) -> None:
    *_, answer = ask(model("llava"), request(load_ms=5.0), Sampling(max_tokens=4))
    assert isinstance(answer, Answer)
    times = answer.timings_ms
    assert list(times) == ["load", "prepare", "ttft", "decode", "total"]
    assert times["load"] == 5.0 and all(ms >= 0 for ms in times.values())
    assert times["total"] >= times["prepare"] + times["ttft"] + times["decode"] + 5.0 - 0.01


def test_bad_values_fail_before_anything_runs(model: Any) -> None:
    with pytest.raises(UsageError):
        next(ask(model("llava"), request(), Sampling(max_tokens=0)))


def test_the_first_event_comes_before_the_model_runs(model: Any) -> None:
    """A prompt that cannot work fails with the first event, not after it."""
    with pytest.raises(InputError):
        next(ask(model("llama"), request(), Sampling()))


def test_ctrl_c_keeps_what_was_said(model: Any) -> None:
    vlm: Any = Interrupted(model("llava"), after=3)
    seen: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        collect(ask(vlm, request(), Sampling()), seen)
    answer = seen[-1]
    assert isinstance(answer, Answer) and answer.finish_reason == "interrupted"
    assert len(answer.tokens) == 3 and answer.tokens == tuple(seen[1:-1])


def collect(events: Iterator[Any], into: list[Any]) -> None:
    for event in events:
        into.append(event)


class Interrupted:
    """A model during whose ``after``-th step somebody presses Ctrl-C."""

    def __init__(self, vlm: Any, after: int) -> None:
        self._vlm = vlm
        self._left = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vlm, name)

    def step(self, state: Any, token_id: int) -> Any:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        return self._vlm.step(state, token_id)
