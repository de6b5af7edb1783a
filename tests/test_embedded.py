"""The embedded checkpoints: ordinary folders, small enough, the same in transformers' own hands, and able."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from recipes.picturebook import evaluate
from vlmcli.api.dual import DualModel
from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.types.ask import Answer
from vlmcli.types.chat import Sampling
from vlmcli.weights.resolve import BUILTIN

SHAPES = Path(__file__).parent.parent / "examples" / "shapes.png"
TOLERANCE = 1e-5  # of probabilities, in float32
LABELS = ["a red circle", "a blue star", "a purple ring"]


@pytest.fixture(scope="module")
def vlm() -> VlmModel:
    loaded = load()
    assert isinstance(loaded, VlmModel)
    return loaded


@pytest.fixture(scope="module")
def dual() -> DualModel:
    loaded = load(kind="dual")
    assert isinstance(loaded, DualModel)
    return loaded


@pytest.fixture(scope="module")
def transformers_own() -> tuple[Any, Any]:
    """Model and processor as a script without vlm would load them."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = BUILTIN / "picturebook"
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(folder)


def their_inputs(processor: Any, question: str) -> Any:
    content = [{"type": "image", "image": Image.open(SHAPES)}, {"type": "text", "text": question}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
    )


def test_they_fit_into_32_megabytes_and_all_that_is_built_in_into_48() -> None:
    sizes = {folder.name: sum(file.stat().st_size for file in folder.iterdir()) for folder in BUILTIN.iterdir()}
    assert sizes["picturebook"] + sizes["picturebook-dual"] <= 32_000_000
    assert sum(sizes.values()) <= 48_000_000


def test_no_line_of_the_package_names_them() -> None:
    package = Path(load.__code__.co_filename).parent
    for file in package.rglob("*.py"):
        code = [line for line in file.read_text(encoding="utf-8").splitlines() if "if " in line]
        assert not any("picturebook" in line for line in code), f"{file} treats the embedded model as a special case"


@pytest.mark.parametrize("question", ["Describe the image.", "What colour is the star?", "Is there a ring?"])
def test_same_tokens_as_generate(vlm: VlmModel, transformers_own: tuple[Any, Any], question: str) -> None:
    model, processor = transformers_own
    *_, answer = vlm.ask(SHAPES, question, sampling=Sampling(max_tokens=40))
    assert isinstance(answer, Answer)
    inputs = their_inputs(processor, question)
    with torch.no_grad():
        said = model.generate(**inputs, do_sample=False, max_new_tokens=40)[0, inputs["input_ids"].shape[1] :]
    assert [token.id for token in answer.tokens] == said.tolist()


def test_same_probabilities_as_forward(vlm: VlmModel, transformers_own: tuple[Any, Any]) -> None:
    model, processor = transformers_own
    inputs = their_inputs(processor, "How many hearts are there?")
    with torch.no_grad():
        theirs = model(**inputs).logits[0].softmax(-1)  # [T, V]
    positions = vlm.topk(SHAPES, "How many hearts are there?", at="all", k=9, expand_images=True).positions
    assert [position.id for position in positions] == inputs["input_ids"][0].tolist()
    for position in positions:
        for top in position.top:
            assert abs(math.exp(top.logprob) - float(theirs[position.index, top.id])) <= TOLERANCE


def test_same_scores_as_siglips_forward(dual: DualModel) -> None:
    from transformers import AutoModel, AutoProcessor

    folder = BUILTIN / "picturebook-dual"
    model, processor = (
        AutoModel.from_pretrained(folder, dtype=torch.float32).eval(),
        AutoProcessor.from_pretrained(folder),
    )
    inputs = processor(text=LABELS, images=Image.open(SHAPES), padding="max_length", return_tensors="pt")
    with torch.no_grad():
        theirs = model(**inputs).logits_per_image[0].sigmoid()
    for score, their in zip(dual.zeroshot(SHAPES, LABELS).scores, theirs.tolist(), strict=True):
        assert score.sigmoid == pytest.approx(their, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("group", "least"),
    [
        ("colour, shape, background", 0.9),
        ("count, yes/no", 0.8),
        ("relations, size", 0.75),
        ("printed words and numbers", 0.5),
        ("phrasings that training never saw", 0.75),
    ],
)
def test_answers_most_questions(vlm: VlmModel, group: str, least: float) -> None:
    share, _ = evaluate.score_questions(vlm, group, count=60, seed=5, show=3)
    assert share >= least, "far below the figures of the recipe: were other weights put in?"


def test_finds_the_label(dual: DualModel) -> None:
    assert evaluate.score_labels(dual, count=30, seed=5) >= 0.8
