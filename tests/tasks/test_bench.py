"""What is measured, and how often; never how long it took."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny
from vlmcli.errors import UsageError
from vlmcli.inputs.image import LoadedImage
from vlmcli.tasks.bench import bench
from vlmcli.tasks.request import Request
from vlmcli.types.bench import Measured
from vlmcli.types.chat import Message
from vlmcli.types.result import ImageInfo


def request(images: int) -> Request:
    pictures = tuple(
        LoadedImage(tiny.picture(i, (40, 40)), ImageInfo("a.png", "0" * 64, (40, 40))) for i in range(images)
    )
    return Request((Message("user", "What is in the image?", images),), pictures)


def test_every_part_once_a_round(model: Any) -> None:
    vlm = model("llava")
    result = bench(vlm, request(1), rounds=2, tokens=3)
    assert [part.name for part in result.measured] == ["prepare", "encode", "prefill", "first token", "decode"]
    assert all(len(part.ms) == 2 for part in result.measured)
    by_name = {part.name: part for part in result.measured}
    assert by_name["prefill"].positions == result.usage.prompt_tokens
    assert by_name["decode"].positions == result.usage.completion_tokens == 3
    for index in range(2):
        parts = sum(by_name[name].ms[index] for name in ("prepare", "encode", "prefill"))
        assert by_name["first token"].ms[index] == pytest.approx(parts)


def test_text_alone_has_no_encoder(model: Any) -> None:
    result = bench(model("llama"), request(0), rounds=1, tokens=2)
    assert "encode" not in [part.name for part in result.measured]


def test_the_features_are_made_anew_every_round(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmcli.models.vlm import Vlm

    stores, encode = [], Vlm.encode
    monkeypatch.setattr(Vlm, "encode", lambda self, inputs: stores.append(self.features) or encode(self, inputs))
    monkeypatch.setattr(model("llava"), "features", "a store that would know them")
    bench(model("llava"), request(1), rounds=2, tokens=1)
    assert stores and set(stores) == {None}
    assert model("llava").features == "a store that would know them"


@pytest.mark.parametrize("options", [{"rounds": 0}, {"tokens": 0}])
def test_no_measurement_at_all(model: Any, options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        bench(model("llava"), request(1), **options)


def test_a_rate_is_of_the_middle_round() -> None:
    part = Measured("decode", (100.0, 400.0, 200.0), positions=10)
    assert (part.median_ms, part.per_second) == (200.0, 50.0)
    assert Measured("prepare", (1.0,)).per_second is None
