"""Maps say what the model does: no change is no finding, derivatives are derivatives, parts sum to the whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tiny
from tests.tasks.test_score import request
from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.engine.forced import answer_logprobs
from vlmcli.errors import OutOfMemory, UsageError
from vlmcli.inputs import spoiled
from vlmcli.inputs.image import load_image
from vlmcli.models.attention_maps import recorded, rolled_out
from vlmcli.models.changed import ChangedRows, with_features
from vlmcli.models.embeddings import replaced
from vlmcli.models.places import slots_of
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.attribute import slots
from vlmcli.tasks.attribute.faithfulness import STEPS
from vlmcli.tasks.attribute.task import ALTERNATIVES, attribute
from vlmcli.tasks.attribute.trial import Work
from vlmcli.tasks.request import Request
from vlmcli.tasks.score import score
from vlmcli.types.attribute import METHODS, Attribution
from vlmcli.types.chat import Message
from vlmcli.weights.resolve import Checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"
FAMILIES = ["llava", "llava_next", "idefics3", "smolvlm", "internvl", "qwen2_vl", "qwen3_vl"]


def about(*sizes: tuple[int, int]) -> Request:
    """A question about pictures of these sizes."""
    loaded = tuple(load_image(tiny.picture(seed, size)) for seed, size in enumerate(sizes, start=1))
    return Request((Message("user", "What is it?", len(loaded)),), loaded)


def total(result: Attribution) -> float:
    return math.fsum(value for row in result.grid for value in row)


def quick(vlm: Vlm, asked: Request, **options: Any) -> Attribution:
    return attribute(vlm, asked, **{"answer": "a cat", "grid": 3, "judge": False, **options})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_on_every_kind_of_fusion(model: Any, family: str, method: Any) -> None:
    """Splicing, tiles, any resolution: the grid has the image's shape, the tokens are those of ``score``."""
    vlm, asked = model(family), about((96, 60))
    result = quick(vlm, asked, method=method)
    assert (len(result.grid), len(result.grid[0])) == (2, 3)
    assert all(math.isfinite(value) for row in result.grid for value in row)
    assert any(value != 0 for row in result.grid for value in row)
    scored = score(vlm, asked, "a cat", k=ALTERNATIVES, end=False)
    assert [token.id for token in result.tokens] == [token.id for token in scored.tokens]
    assert [token.logprob for token in result.tokens] == pytest.approx([t.logprob for t in scored.tokens], abs=1e-4)
    assert [(token.rank, token.top) for token in result.tokens] == [(t.rank, t.top) for t in scored.tokens]
    whole = torch.tensor([token.grid for token in result.tokens]).sum(0)
    assert torch.allclose(whole, torch.tensor(result.grid), atol=1e-5), "the grid is the sum of the tokens' maps"


def test_cross_attention(model: Any) -> None:
    """Occlusion, attention and reliance work; the others say in a line that they do not."""
    vlm, asked = model("mllama"), about((96, 60))
    for method in ("occlusion", "attention"):
        result = quick(vlm, asked, method=method)
        assert any(value != 0 for row in result.grid for value in row) and result.tokens[0].reliance.blank != 0
    for method in ("ablation", "gradient", "integrated", "tam"):
        with pytest.raises(UsageError, match="beside the text"):
            quick(vlm, asked, method=method)


@pytest.mark.parametrize("family", ["aria", "blip2", "git", "fuyu", "molmo2", "gemma3", "paligemma", "idefics"])
@pytest.mark.parametrize("method", ["occlusion", "gradient", "attention"])
def test_other_families_work_or_say_why_not(model: Any, family: str, method: Any) -> None:
    try:
        result = quick(model(family), about((40, 40)), method=method)
    except UsageError as error:
        assert method != "occlusion" and "occlusion" in (error.hint or "")
    else:
        assert any(value != 0 for row in result.grid for value in row)


@pytest.mark.parametrize("family", ["llava", "internvl", "qwen3_vl"])
def test_unchanged_embeddings_change_nothing(model: Any, family: str) -> None:
    vlm, asked = model(family), about((96, 60))
    inputs = vlm.prepare(asked.prompt)
    plain = vlm.prefill(inputs).logits
    positions = slots_of(vlm, inputs, 0)
    with replaced(vlm, inputs, positions, lambda levels: levels):
        assert torch.allclose(vlm.prefill(inputs).logits, plain, atol=1e-5)
    with replaced(vlm, inputs, positions, lambda levels: [level.flip(1) for level in levels]):
        assert not torch.allclose(vlm.prefill(inputs).logits, plain, atol=1e-3)
    assert torch.equal(vlm.prefill(inputs).logits, plain), "a hook stayed on the decoder"


def scaled(vlm: Vlm, asked: Request, ids: tuple[int, ...], factor: float) -> Tensor:
    """The answer's log-probabilities [A] with the image's embeddings times a factor."""
    batch = vlm.prepare_batch([asked.prompt])
    inputs = vlm.prepare(asked.prompt)
    with replaced(vlm, inputs, slots_of(vlm, inputs, 0), lambda levels: [level * factor for level in levels]):
        return answer_logprobs(vlm, batch, ids)[0]


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_vl", "qwen3_vl"])
def test_gradient_times_input_is_the_slope_of_the_answer_with_the_image(model: Any, family: str) -> None:
    """Against finite differences. The slots that are no place (a line break's) are no part of the map."""
    vlm, asked = model(family), about((64, 64))
    result = quick(vlm, asked, method="gradient", grid=1)
    ids, h = tuple(token.id for token in result.tokens), 1e-2
    slope = (scaled(vlm, asked, ids, 1 + h) - scaled(vlm, asked, ids, 1 - h)) / (2 * h)
    for token, expected in zip(result.tokens, slope.tolist(), strict=True):
        own = math.fsum(value for row in token.grid for value in row)
        if family != "llava_next":
            assert own == pytest.approx(expected, rel=0.05, abs=0.02)
    assert all(weight.requires_grad for weight in vlm.model.parameters()) and torch.is_inference_mode_enabled() is False


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_integrated_gradients_are_complete(model: Any, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They sum to what the answer loses when the whole image becomes its mean, which is an ablation of one block."""
    monkeypatch.setattr(slots, "INTEGRATED_STEPS", 128)
    vlm, asked = model(family), about((64, 64))
    lost = total(quick(vlm, asked, method="ablation", grid=1))
    gained = total(quick(vlm, asked, method="integrated", grid=1, batch_size=32))
    assert gained == pytest.approx(lost, rel=0.05, abs=0.05)


@pytest.mark.parametrize("family", ["llava", "mllama", "paligemma"])
def test_rolled_out_attention_is_a_share(model: Any, family: str) -> None:
    vlm = model(family)
    inputs = vlm.prepare(about((40, 40)).prompt)
    with recorded(vlm) as seen:
        state = vlm.prefill(inputs)
        prompt = list(seen)
        vlm.step(state, 7)
    passes = [prompt, seen[len(prompt) :]]
    for at in (len(inputs.ids) - 1, len(inputs.ids)):
        mine, beside = rolled_out(passes, at)
        assert len(mine) == at + 1
        assert float(mine.sum() + beside.sum()) == pytest.approx(1, abs=1e-4)
    assert vlm.model.config._attn_implementation != "eager"


@pytest.mark.parametrize("family", ["llava", "internvl", "llava_next", "qwen2_vl", "idefics3"])
def test_only_changed_rows_are_encoded_and_the_answer_is_the_same(model: Any, family: str) -> None:
    vlm, asked = model(family), about((96, 60), (40, 40))
    covered = spoiled.covered(asked.images[0].pixels, (0.0, 0.0, 0.2, 0.2))
    other = Request(asked.messages, (load_image(covered), asked.images[1]))
    store = ChangedRows()
    lab = with_features(vlm, store)
    lab.encode(lab.prepare(asked.prompt))
    first = store.encoded
    changed = lab.prefill_batch(lab.prepare_batch([other.prompt, asked.prompt])).logits.softmax(-1)
    for logits, one in zip(changed, (other, asked), strict=True):
        assert torch.allclose(logits, vlm.prefill(vlm.prepare(one.prompt)).logits.softmax(-1), atol=1e-5)
    if family in ("llava", "internvl"):
        assert 0 < store.encoded - first < first, "a tile that did not change was encoded again"


def test_of_several_images_only_the_one_in_question_counts(model: Any) -> None:
    vlm, asked = model("llava"), about((40, 40), (96, 60))
    first, second = (quick(vlm, asked, of=of) for of in (0, 1))
    assert (len(first.grid), len(second.grid)) == (3, 2)
    assert first.tokens[0].reliance != second.tokens[0].reliance
    with pytest.raises(UsageError, match="no image number 2"):
        quick(vlm, asked, of=2)


def test_a_blank_image_is_not_relied_on(model: Any) -> None:
    vlm = model("llava")
    grey = spoiled.blank(tiny.picture(1, (40, 40)))
    result = quick(vlm, Request((Message("user", "What is it?", 1),), (load_image(grey),)))
    for token in result.tokens:
        assert token.reliance.blank == pytest.approx(0, abs=1e-5) == token.reliance.shuffled
        assert abs(token.reliance.noised) > 1e-4
    assert all(abs(value) < 1e-5 for row in result.grid for value in row)


def test_one_token_of_the_answer(model: Any) -> None:
    vlm, asked = model("llava"), about((40, 40))
    whole, one = quick(vlm, asked), quick(vlm, asked, token=1)
    assert one.grid == whole.tokens[1].grid and one.tokens == whole.tokens and one.token == 1
    with pytest.raises(UsageError, match="no token number"):
        quick(vlm, asked, token=50)


def test_its_own_answer_is_the_greedy_one(model: Any) -> None:
    from tests.tasks.test_score import greedy

    vlm, asked = model("llava"), about((40, 40))
    answer = greedy(vlm, asked, max_tokens=64)
    said = [token for token in answer.tokens if token.id not in vlm.eos_ids]
    result = quick(vlm, asked, answer="", grid=1)
    assert [token.id for token in result.tokens] == [token.id for token in said]
    assert [t.logprob for t in result.tokens] == pytest.approx([t.logprob for t in said], abs=1e-4)


def test_progress_counts_every_pass_and_ends(model: Any) -> None:
    seen: list[tuple[int, int]] = []
    for method in METHODS:
        seen.clear()
        quick(model("llava"), about((40, 40)), method=method, judge=True, tick=lambda *now: seen.append(now))
        assert seen[-1][0] == seen[-1][1] and [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    def run(some: Any) -> Tensor:
        if len(some) > 2:
            raise OutOfMemory("out of memory")
        return torch.tensor(some) * 2

    work = Work(size=9)
    assert work.each(list(range(7)), run).tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert work.size <= 2 and work.done == 7 and "lowered" in work.notes[0]

    def never(some: Any) -> Tensor:
        raise OutOfMemory("out of memory")

    with pytest.raises(OutOfMemory):
        work.each([1, 2], never)


def test_gradients_want_float32(folder_of: Any) -> None:
    from vlmcli.models.load import load as load_checkpoint

    vlm: Any = load_checkpoint(Checkpoint(folder_of("llava"), "llava", None, None), device="cpu", dtype="bfloat16")
    with pytest.raises(UsageError, match="bfloat16") as raised:
        quick(vlm, about((40, 40)), method="gradient")
    assert "float32" in (raised.value.hint or "")
    assert quick(vlm, about((40, 40)), method="ablation").grid


@pytest.mark.parametrize(
    ("family", "options", "says"),
    [
        ("llava", {"method": "magic"}, "no method"),
        ("llava", {"grid": 0}, "grid"),
        ("llava", {"batch_size": 0}, "batch size"),
    ],
)
def test_what_makes_no_sense(model: Any, family: str, options: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        quick(model(family), about((40, 40)), **options)


def test_without_an_image_there_is_nothing_to_look_at(model: Any) -> None:
    with pytest.raises(UsageError, match="no image"):
        quick(model("llama"), request(0))


@pytest.fixture(scope="module")
def embedded() -> VlmModel:
    loaded = load()
    assert isinstance(loaded, VlmModel)
    return loaded


STAR = (0.62 - 0.15, 0.3 - 0.2, 0.62 + 0.15, 0.3 + 0.2)  # of examples/shapes.png, 384 x 288


@pytest.mark.parametrize("method", ["occlusion", "ablation", "integrated"])
def test_the_map_points_at_the_star_that_was_asked_about(embedded: VlmModel, method: Any) -> None:
    result = embedded.attribute(EXAMPLES / "shapes.png", "What colour is the star?", method=method)
    row, column = result.peak
    x, y = (column + 0.5) / len(result.grid[0]), (row + 0.5) / len(result.grid)
    assert STAR[0] <= x <= STAR[2] and STAR[1] <= y <= STAR[3]
    assert result.text == "blue" and result.reliance > 1
    judged = result.faithfulness
    assert judged is not None and judged.steps == STEPS
    assert judged.deletion < judged.random_deletion and judged.insertion > judged.random_insertion
