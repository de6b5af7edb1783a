"""The embedded painter: the same tokens as in transformers' own hands, and pictures of what was asked for."""

from __future__ import annotations

import pytest
import torch

from recipes.drawing.evaluate import drawn_with, orders
from recipes.drawing.judge import judge
from vlmcli.api.dual import DualModel
from vlmcli.api.load import load
from vlmcli.api.painter import PainterModel
from vlmcli.api.vlm import VlmModel
from vlmcli.types.draw import Brush, Drawn
from vlmcli.weights.resolve import BUILTIN


@pytest.fixture(scope="module")
def painter() -> PainterModel:
    loaded = load(kind="painter")
    assert isinstance(loaded, PainterModel) and not isinstance(loaded, VlmModel)
    return loaded


def test_draws_what_transformers_own_generate_draws(painter: PainterModel) -> None:
    from transformers import AutoProcessor, JanusForConditionalGeneration

    folder = BUILTIN / "picturebook-draw"
    model = JanusForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    words = "a red star on a white background"
    content = [{"type": "text", "text": words}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=text, generation_mode="image", return_tensors="pt", add_special_tokens=False)
    said = model.generate(**inputs, generation_mode="image", do_sample=False)[0]  # [256]
    *_, drawn, _ = painter.draw(words, brush=Brush(temperature=0))
    assert isinstance(drawn, Drawn)
    assert [token.id for token in drawn.tokens] == said.tolist()


def test_draws_what_is_asked_for(painter: PainterModel) -> None:
    dual = load(kind="dual", cache=False)
    assert isinstance(dual, DualModel)
    asked = orders(8, 5)
    pictures = [drawn_with(painter, order, Brush(seed=seed)) for seed, order in enumerate(asked)]
    verdicts = [judge(dual, picture, order) for picture, order in zip(pictures, asked, strict=True)]
    assert sum(verdict.background and verdict.colour for verdict in verdicts) >= 7, "were other weights put in?"
    assert sum(verdict.shape for verdict in verdicts) >= 5
