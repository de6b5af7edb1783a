"""The Python interface, as somebody would use it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests import tiny
from vlmcli import load
from vlmcli.api.classifier import ClassifierModel
from vlmcli.api.detector import DetectorModel
from vlmcli.api.dual import DualModel
from vlmcli.api.segmenter import SegmenterModel
from vlmcli.api.vlm import VlmModel
from vlmcli.errors import ImageError, InputError, UsageError
from vlmcli.inputs.embeddings.kept import Kept, keep
from vlmcli.types.ask import Answer
from vlmcli.types.chat import Message, Sampling
from vlmcli.types.result import Start

SHORT = Sampling(max_tokens=5)


@pytest.fixture(scope="module")
def llava(checkpoint: Any) -> VlmModel:
    loaded = load(checkpoint("llava").folder, device="cpu")
    assert isinstance(loaded, VlmModel)
    return loaded


@pytest.fixture(scope="module")
def llama(checkpoint: Any) -> VlmModel:
    loaded = load(str(checkpoint("llama").folder), device="cpu")
    assert isinstance(loaded, VlmModel)
    return loaded


def answer(events: Any) -> Answer:
    *_, last = events
    assert isinstance(last, Answer)
    return last


def prompt_tokens(events: Any) -> int:
    start = next(events)
    assert isinstance(start, Start)
    return start.usage.prompt_tokens


def test_an_image_is_a_path_bytes_or_pil(llava: VlmModel, tmp_path: Path) -> None:
    """However the same pixels arrive, the answer is the same."""
    buffer = io.BytesIO()
    tiny.picture(3).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    forms = [str(tmp_path / "a.png"), tmp_path / "a.png", buffer.getvalue(), tiny.picture(3), [tiny.picture(3)]]
    answers = [answer(llava.ask(form, "What is it?", sampling=SHORT)) for form in forms]
    assert len({a.text for a in answers}) == 1 and all(len(a.images) == 1 for a in answers)


def test_no_image_is_a_text_prompt(llava: VlmModel) -> None:
    assert answer(llava.ask(None, "Hello", sampling=SHORT)).usage.image_tokens == 0
    assert answer(llava.ask((), "Hello", sampling=SHORT)).images == ()


def test_system_and_earlier_messages(llava: VlmModel) -> None:
    earlier = [Message("user", "What is it?", images=1), Message("assistant", "a cat")]
    pictures = [tiny.picture(1), tiny.picture(2)]
    plain = prompt_tokens(llava.ask(pictures[:1], "And this?"))
    assert prompt_tokens(llava.ask(pictures[:1], "And this?", system="be brief")) > plain
    longer = prompt_tokens(llava.ask(pictures, "And this?", messages=earlier))
    assert longer > plain + 16
    with pytest.raises(UsageError, match="show 1 images, and 0"):
        next(llava.ask(None, "And this?", messages=earlier))


def test_raw_has_no_system_prompt(llama: VlmModel) -> None:
    with pytest.raises(UsageError):
        next(llama.ask(None, "Hello", system="be brief", raw=True))


def test_topk_of_a_base_model_reads_the_prompt_as_it_stands(folder_of: Any) -> None:
    folder = folder_of("llama")
    (folder / "chat_template.jinja").unlink()
    base: Any = load(folder, device="cpu")
    table = base.topk(None, "The dog jumped over the", at="all")
    assert "".join(row.token for row in table.positions) == "<s>The dog jumped over the"
    with pytest.raises(InputError, match="template"):
        next(base.ask(None, "The dog jumped over the"))


def test_topk_and_ask_agree_on_the_first_token(llava: VlmModel) -> None:
    (row,) = llava.topk(tiny.picture(), "What is it?").positions
    first = answer(llava.ask(tiny.picture(), "What is it?", sampling=SHORT)).tokens[0]
    assert (row.top[0].id, row.top[0].logprob) == (first.id, pytest.approx(first.logprob, abs=1e-5))


def test_score_choose_and_check(llava: VlmModel) -> None:
    cat = llava.score(tiny.picture(), "What is it?", answer_ids=[5], system="be brief").logprob
    assert cat != llava.score(tiny.picture(), "What is it?", answer_ids=[5]).logprob
    checked = llava.check(tiny.picture(), "Is it?")
    assert checked.choices == llava.choose(tiny.picture(), "Is it?", ["yes", "no"]).choices
    assert checked.best.option in ("yes", "no")
    with pytest.raises(UsageError):
        llava.choose(tiny.picture(), "What?", ["a", "b"], raw=True, system="be brief")


def test_zeroshot(checkpoint: Any) -> None:
    dual = load(checkpoint("siglip").folder, device="cpu")
    assert isinstance(dual, DualModel)
    scores = dual.zeroshot([tiny.picture(1), tiny.picture(2)], ["a cat", "a dog"], template="a photo of {}").scores
    assert len(scores) == 4 and {score.label for score in scores} == {"a cat", "a dog"}
    assert dual.info.dtype == "float32" and dual.spec is None


def test_embed_and_zeroshot_of_what_was_kept(checkpoint: Any, tmp_path: Path) -> None:
    dual: Any = load(checkpoint("siglip").folder, device="cpu")
    pictures = [tiny.picture(1), tiny.picture(2)]
    start, *made, totals = keep(dual.embed(pictures, "a cat"), tmp_path / "kept.safetensors")
    assert [event.kind for event in made] == ["image", "image", "text"]
    assert start.model == totals.model and start.model.revision.startswith("sha256:")
    kept = Kept.open(tmp_path / "kept.safetensors")
    assert kept.model == start.model
    assert dual.zeroshot(kept, ["a cat", "a dog"]).scores == dual.zeroshot(pictures, ["a cat", "a dog"]).scores


def test_vectors_of_another_model_are_refused(checkpoint: Any, folder_of: Any, tmp_path: Path) -> None:
    """Another family; and the same folder, trained on: its name says nothing."""
    folder = folder_of("siglip")
    dual: Any = load(folder, device="cpu")
    list(keep(dual.embed(tiny.picture()), tmp_path / "kept.jsonl"))
    kept = Kept.open(tmp_path / "kept.jsonl")
    other: Any = load(checkpoint("clip").folder, device="cpu")
    with pytest.raises(InputError, match="clip"):
        other.zeroshot(kept, ["a cat"])
    weights = load_file(folder / "model.safetensors")
    weights["logit_scale"] = weights["logit_scale"] + 0.1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    trained: Any = load(folder, device="cpu")
    with pytest.raises(InputError, match="made by"):
        trained.zeroshot(kept, ["a cat"])


def test_classify(checkpoint: Any) -> None:
    classifier = load(checkpoint("vit").folder, device="cpu")
    assert isinstance(classifier, ClassifierModel)
    best, *_ = classifier.classify(tiny.picture(), k=3).scores
    assert best.label in classifier.classifier.labels and best.softmax is not None
    assert classifier.spec is None


def test_detect_and_segment(checkpoint: Any, tmp_path: Path) -> None:
    """Boxes and masks of one image that is read once; sideways in its file, upright in every number."""
    stored = tiny.picture(2, (90, 60))
    exif = stored.getexif()
    exif[0x0112] = 6  # turned by a quarter
    stored.save(tmp_path / "a.jpg", exif=exif)
    detector, segmenter = (load(checkpoint(name).folder, device="cpu", cache=False) for name in ("owlvit", "sam"))
    assert isinstance(detector, DetectorModel) and isinstance(segmenter, SegmenterModel)
    image = segmenter.read_one(tmp_path / "a.jpg")
    found = detector.detect(image, "a cat", threshold=0.0, top=3)
    assert found.images[0].original == (60, 90) and found.labels == ("a cat",) and len(found.found[0]) == 3
    masks = segmenter.segment(image, "a cat", detector=detector, threshold=0.0, top=3)
    assert [mask.score for mask in masks.masks] == [detection.score for detection in found.found[0]]
    assert all(mask.rle.size == (90, 60) for mask in masks.masks) and masks.detector == detector.info
    assert set(masks.timings_ms) == {"load", "detect", "encode", "masks", "total"}
    points = [(5.0, 5.0), (50.0, 80.0)]
    assert len(segmenter.segment(image, points=points).masks) == 1
    assert len(segmenter.segment(image, points=points, each=True).masks) == 2
    assert len(segmenter.segment(image, boxes=[(0.0, 0.0, 9.0, 9.0), (5.0, 5.0, 60.0, 90.0)]).masks) == 2
    assert segmenter.everything(image, grid=2, min_iou=0.0, min_stability=0.0).image.original == (60, 90)
    by_example = detector.detect(image, query_image=tiny.picture(), threshold=0.0)
    assert by_example.labels == ("<image>",)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ((), {}, "nothing to segment"),
        (["a cat"], {}, "detector"),
        (["a cat"], {"points": [(1.0, 1.0)]}, "exclude"),
        ((), {"points": [(1.0, 1.0)], "threshold": 0.5}, "no label"),
        ((), {"points": [(1.0, 1.0)], "boxes": [(0.0, 0.0, 5.0, 5.0)] * 2}, "one box"),
        ((), {"points": [(1.0, 1.0)], "negative": [(2.0, 2.0)], "each": True}, "thing each"),
    ],
)
def test_segment_needs_one_way_of_pointing(checkpoint: Any, labels: Any, options: Any, message: str) -> None:
    segmenter: Any = load(checkpoint("sam").folder, device="cpu", cache=False)
    with pytest.raises(UsageError, match=message):
        segmenter.segment(tiny.picture(), labels, **options)


def test_images_beyond_the_limit_are_refused(checkpoint: Any) -> None:
    small: Any = load(checkpoint("llava").folder, device="cpu", max_pixels=100)
    with pytest.raises(ImageError):
        next(small.ask(tiny.picture(), "What is it?"))


def test_threads(checkpoint: Any) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        load(checkpoint("llama").folder, device="cpu", threads=1)
        assert torch.get_num_threads() == 1
        with pytest.raises(UsageError):
            load(checkpoint("llama").folder, threads=0)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "statement", ["import vlmcli", "import vlmcli.api", "from vlmcli import load", "import vlmcli; dir(vlmcli)"]
)
def test_importing_is_light(statement: str) -> None:
    code = f"import sys; {statement}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_unknown_attributes() -> None:
    import vlmcli

    assert vlmcli.__version__
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        vlmcli.nothing_of_the_kind  # noqa: B018


def test_a_text_only_model_continues_the_bare_text(checkpoint: Any) -> None:
    """What stands in a table is what was typed, and no template around it; a system prompt asks for one."""
    model = load(checkpoint("llama").folder, device="cpu")
    assert isinstance(model, VlmModel) and model.vlm.has_template
    text = "a photo of a cat"
    bare = model.topk(None, text, at="all")
    assert "".join(position.token for position in bare.positions[1:]) == text
    assert model.topk(None, text, system="Be brief.").usage.prompt_tokens > bare.usage.prompt_tokens
