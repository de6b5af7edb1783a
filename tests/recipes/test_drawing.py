"""Orders say what is drawn, the two stages make a checkpoint that vlm draws with, and the judge can tell."""

from __future__ import annotations

import argparse
import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recipes.drawing import autoencoder, drawer, evaluate, judge, parts, prompts, train
from recipes.picturebook.data import normalised
from recipes.picturebook.scenes import draw
from vlmcli.api.load import load
from vlmcli.catalog import Catalog
from vlmcli.models.drawing import drawer_of
from vlmcli.types.draw import Brush, Drawn

WORDS = parts.GRID**2
ORDERS = [prompts.sample_order(random.Random(seed)) for seed in range(300)]


@pytest.fixture(scope="module")
def tokens() -> Any:
    return parts.build_tokenizer()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with one step a stage."""
    out = tmp_path_factory.mktemp("drawing")
    options = argparse.Namespace(out=out, device="cpu", seed=1, workers=0, scale=1e-9, until="drawer")
    parts.export(*train.train(options), out / "picturebook-draw")
    return out


def test_an_order_names_what_its_scene_holds() -> None:
    for order in ORDERS:
        (item,) = order.scene.items
        assert f"{item.colour} {item.shape}" in order.prompt
        assert all(item.radius <= centre <= 1 - item.radius for centre in (item.x, item.y)), "cut off at an edge"
        ground = f"{order.scene.background} background"
        assert (ground in order.prompt) == ("background" in order.prompt)
    assert len({order.prompt for order in ORDERS}) > 250


def test_places() -> None:
    assert prompts.place(0.2, 0.2) == "in the top left"
    assert prompts.place(0.8, 0.5) == "on the right"
    assert prompts.place(0.45, 0.9) == "at the bottom"
    assert prompts.place(0.5, 0.55) == "in the middle"


def test_every_word_is_one_token_and_capitals_do_not_count(tokens: Any) -> None:
    words = "draw a small purple hexagon at the top on a yellow background"
    assert len(tokens.tokenize(words)) == len(words.split())
    assert tokens.encode(words.upper()) == tokens.encode(words)


def test_the_row_of_an_example(tokens: Any) -> None:
    prompt = torch.tensor(drawer.prompt_ids(tokens, "a red star"))
    longer = torch.tensor(drawer.prompt_ids(tokens, "a red star on a blue background"))
    batch = drawer.collate([{"prompt": each, "grid": torch.arange(WORDS)} for each in (prompt, longer)])
    assert batch["ids"].shape == (2, len(longer) + WORDS)
    assert batch["drawn"].sum(1).tolist() == [WORDS, WORDS]
    for row, each in enumerate((prompt, longer)):
        assert batch["ids"][row][batch["drawn"][row]].tolist() == list(range(WORDS))
        assert batch["ids"][row, len(each) - 1] == tokens.convert_tokens_to_ids(parts.BEGIN)


def test_transformers_own_encoder_picks_the_words_of_training(tokens: Any) -> None:
    torch.manual_seed(0)
    janus = parts.build_model(tokens)
    stage = autoencoder.AutoencoderStage(janus, 0)
    pictures = normalised(torch.stack([autoencoder.pixels_of(order) for order in ORDERS[:2]]))
    with torch.no_grad():
        stage.vq.quantize.embedding.weight *= torch.linspace(0.1, 9, parts.CODES)[:, None]  # lengths decide nothing
        flat = stage.vectors(pictures).permute(0, 2, 3, 1).flatten(0, 2)
        stage.settle()
        words = (flat @ stage.vq.quantize.embedding.weight.T).argmax(-1).view(2, WORDS)
        assert torch.equal(drawer.words_of(janus, pictures), words)
        vectors = stage.vq.quantize.get_codebook_entry(words)
        assert torch.allclose(stage.pixels(vectors), janus.model.vqmodel.decode(words), atol=1e-5)


@pytest.fixture(scope="module")
def painter(trained: Path) -> Any:
    own = trained / "models.toml"
    own.write_text('[models.fresh]\nkind = "painter"\nsource = "path:picturebook-draw"\n')
    return load("fresh", catalog=Catalog.load(own))


def test_pictures_go_in_and_come_out_as_in_training(painter: Any) -> None:
    pixels = normalised(autoencoder.pixels_of(ORDERS[0]))[None]
    read = painter.vlm.processor.image_processor(evaluate.true_picture(ORDERS[0]), return_tensors="pt")["pixel_values"]
    assert torch.allclose(read, pixels, atol=1e-5)
    janus = painter.vlm.model
    with torch.no_grad():
        developed = janus.model.vqmodel.decode(drawer.words_of(janus, pixels.to(janus.dtype)))[0].float()
    expected = ((developed.clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0)
    shown = torch.from_numpy(np.asarray(evaluate.round_trip(painter, ORDERS[0])).copy())
    assert (shown - expected).abs().max() <= 1.5


def test_one_step_a_stage_makes_a_checkpoint_that_draws(painter: Any) -> None:
    assert not hasattr(painter, "ask"), "what nobody trained is offered"
    *_, drawn, _ = painter.draw("a red star", brush=Brush(seed=1))
    assert isinstance(drawn, Drawn) and drawn.size == (64, 64) and len(drawn.tokens) == WORDS
    prompt = "a red star on a blue background"
    read = drawer_of(painter.vlm).lay_out(prompt, "", None, guided=True).ids
    assert read[0].tolist() == drawer.prompt_ids(painter.vlm.tokenizer, prompt), "another format than in training"
    pad = painter.vlm.tokenizer.pad_token_id
    assert read[1].tolist() == [read[0, 0], *[pad] * (read.shape[1] - 2), read[0, -1]], "another empty prompt"


def test_training_goes_on_where_it_stopped(trained: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in trained.glob("grids.pt")}
    states = {name: torch.load(trained / f"{name}.state.pt", weights_only=True) for name in train.PLANS}
    assert [state["step"] for state in states.values()] == [1, 1]
    options = argparse.Namespace(out=trained, device="cpu", seed=1, workers=0, scale=1e-9, until="drawer")
    janus, _ = train.train(options)
    for name, value in states["drawer"]["model"].items():
        assert torch.equal(janus.state_dict()[name.removeprefix("janus.")], value), f"{name} was trained anew"
    assert before == {file.name: file.stat().st_mtime_ns for file in trained.glob("grids.pt")}


@pytest.fixture(scope="module")
def dual() -> Any:
    return load(kind="dual", cache=False)


def test_the_judge_knows_the_recipes_own_pictures(dual: Any) -> None:
    verdicts = [judge.judge(dual, evaluate.true_picture(order), order) for order in ORDERS[:40]]
    assert sum(verdict.background and verdict.colour for verdict in verdicts) == 40
    assert sum(verdict.all for verdict in verdicts) >= 36


def test_the_judge_sees_what_is_wrong(dual: Any) -> None:
    orders = evaluate.orders(20, 7)
    for order, other in itertools.pairwise(orders):
        verdict = judge.judge(dual, draw(other.scene, random.Random(0)), order)
        ours, theirs = order.scene.items[0], other.scene.items[0]
        assert verdict.colour == (ours.colour == theirs.colour)
        assert not verdict.shape or (ours.colour, ours.shape) == (theirs.colour, theirs.shape)
    assert not judge.judge(dual, Image.new("RGB", (64, 64)), orders[0]).all
