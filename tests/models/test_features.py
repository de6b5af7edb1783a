"""Kept features: the same answer, and no second run of the encoder; whatever changes the features is another entry."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.families import FAMILIES, Family
from tests.models.test_composition import Compose, compose, open_gates, question
from vlmcli.inputs.chat import Prompt
from vlmcli.models import feature_files
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.models.features import Encoded, FeatureStore, taken_apart
from vlmcli.models.load import load
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message
from vlmcli.weights.resolve import Checkpoint

__all__ = ["compose"]  # a fixture

TOLERANCE = 1e-5  # of probabilities, in float32
SEEING = [family for family in FAMILIES if family.method != "none"]
# Their forward takes pixels only.
PIXELS_ONLY = {"mllama", "kosmos2", "idefics", "git"}
# Nothing tells whose the rows of their pixels are: all images of a prompt are one entry.
TOGETHER = {"llava_onevision", "molmo2", "lfm2_vl"}

ONE = Prompt((Message("user", "What is in the image?", 1),), (tiny.picture(1, (40, 40)),))
TWO = Prompt((Message("user", "What is it?", 2),), (tiny.picture(1, (40, 40)), tiny.picture(2, (70, 50))))


def keeping(vlm: Vlm, folder: Path, weights: str = "these", **options: Any) -> Vlm:
    """The same model, with a feature store of its own as another process would have."""
    store = FeatureStore(weights, vlm.info, FeatureFiles(folder), **options)
    return Vlm(vlm.model, vlm.processor, vlm.info, vlm.template, store)


@contextmanager
def counted(vlm: Vlm) -> Iterator[list[int]]:
    """One more in the list for each time that the encoder runs."""
    base = vlm.model.base_model
    own, made = base.get_image_features, []

    @functools.wraps(own)
    def count(*args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return own(*args, **kwargs)

    base.get_image_features = count
    try:
        yield made
    finally:
        del base.get_image_features


def calls(vlm: Vlm, prompt: Prompt = ONE) -> int:
    """How often reading a prompt runs the encoder."""
    with counted(vlm) as made:
        vlm.prefill(vlm.prepare(prompt))
    return len(made)


def answer(vlm: Vlm, prompt: Prompt) -> torch.Tensor:
    """Probabilities of the first token of the answer [V]."""
    return vlm.prefill(vlm.prepare(prompt)).logits.softmax(-1)


def loaded(folder: Path, cache: Path, dtype: str = "float32") -> Vlm:
    """A checkpoint as ``vlm`` itself loads it."""
    vlm = load(Checkpoint(folder, "tiny", None, None), "cpu", dtype, FeatureFiles(cache))
    assert isinstance(vlm, Vlm)
    return vlm


@pytest.mark.parametrize("prompt", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("family", SEEING, ids=lambda family: family.tiny)
def test_the_answer_is_the_same(model: Any, tmp_path: Path, family: Family, prompt: Prompt) -> None:
    """Encoded together without a store, one by one into it, out of its memory, and off the disk."""
    if prompt is TWO and "two images" in family.refused:
        pytest.skip("one image in a prompt")
    vlm = model(family.tiny)
    plain = answer(vlm, prompt)
    store = keeping(vlm, tmp_path)
    first = answer(store, prompt)
    assert (first - plain).abs().max() <= TOLERANCE
    if family.tiny in PIXELS_ONLY:
        assert not list(tmp_path.iterdir())
        return
    entries = 1 if family.tiny in TOGETHER else len(prompt.images)
    assert len(list(tmp_path.iterdir())) == entries
    for again in (store, keeping(vlm, tmp_path)):
        with counted(vlm) as encoded:
            assert torch.equal(answer(again, prompt), first), "other features than the first time"
        assert not encoded
    assert all(image.cached for image in store.encode(store.prepare(prompt)).images)


@pytest.mark.parametrize("fusion", ["concat", "cross-attention", "hybrid"])
def test_compositions(compose: Compose, tmp_path: Path, fusion: str) -> None:
    """What is spliced and what is looked at are both kept; a picture that is cut has several crops."""
    vlm = compose(fusion, tiles=4)
    if fusion != "concat":
        open_gates(vlm)
    asked = question((40, 40), (90, 40))
    plain = answer(vlm, asked)
    first = answer(keeping(vlm, tmp_path), asked)
    assert (first - plain).abs().max() <= TOLERANCE
    assert len(list(tmp_path.iterdir())) == 2
    again = keeping(vlm, tmp_path)
    assert calls(again, asked) == 0
    assert torch.equal(answer(again, asked), first)
    assert calls(again, question((90, 40))) == 1, "another seed of the picture"


def test_a_padded_batch(model: Any, tmp_path: Path) -> None:
    """One image in each prompt, and the second of them is known."""
    vlm = model("llava")
    known = Prompt((Message("user", "Why?", 1),), (tiny.picture(7),))
    store = keeping(vlm, tmp_path)
    plain = vlm.prefill_batch(vlm.prepare_batch([ONE, known])).logits.softmax(-1)
    store.encode(store.prepare(known))
    batch = store.encode(store.prepare_batch([ONE, known]))
    assert [[image.cached for image in row.images] for row in batch.rows] == [[False], [True]]
    assert (store.prefill_batch(batch).logits.softmax(-1) - plain).abs().max() <= TOLERANCE


def test_a_second_question_skips_the_encoder(model: Any, tmp_path: Path) -> None:
    """Beside another image, in another prompt, and in another process."""
    store = keeping(model("llava"), tmp_path)
    assert calls(store, TWO) == 2
    assert calls(store, Prompt((Message("user", "And why?", 1),), TWO.images[1:])) == 0
    assert calls(keeping(model("llava"), tmp_path), Prompt(TWO.messages, TWO.images[::-1])) == 0
    assert calls(model("llava"), TWO) == 1, "without a store both are encoded at once"


def test_what_changes_the_features_is_another_entry(folder_of: Any, tmp_path: Path) -> None:
    folder, cache = folder_of("llava"), tmp_path / "cache"
    assert [calls(loaded(folder, cache)) for _ in range(2)] == [1, 0]
    assert calls(loaded(folder, cache), Prompt(ONE.messages, (tiny.picture(9),))) == 1, "another image"
    assert calls(loaded(folder, cache, "bfloat16")) == 1, "another dtype"
    os.utime(folder / "model.safetensors", ns=(0, 0))
    assert calls(loaded(folder, cache)) == 1, "the weights were written anew"
    vlm = loaded(folder, cache)
    assert calls(vlm) == 0
    vlm.processor.image_processor.image_mean = [0.1, 0.1, 0.1]
    assert calls(vlm) == 1, "another configuration of the processor"


def test_a_moved_pixel_is_another_entry(model: Any, tmp_path: Path) -> None:
    store = keeping(model("llava"), tmp_path)
    spoilt = ONE.images[0].copy()
    spoilt.putpixel((20, 20), (1, 2, 3))
    assert calls(store) == 1 and calls(store, Prompt(ONE.messages, (spoilt,))) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other metadata"])
def test_a_damaged_entry_is_made_anew(model: Any, tmp_path: Path, damage: str) -> None:
    vlm = model("qwen3_vl")
    first = answer(keeping(vlm, tmp_path), ONE)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(
        {
            "cut": whole[:-40],
            "flipped": whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
            "empty": b"",
            "other metadata": whole.replace(b"vlm_features", b"vlm_fixtures"),
        }[damage]
    )
    assert FeatureFiles(tmp_path).read(entry.stem) is None and not entry.exists()
    entry.write_bytes(whole[:100])
    assert calls(keeping(vlm, tmp_path)) == 1
    assert entry.read_bytes() == whole and torch.equal(answer(keeping(vlm, tmp_path), ONE), first)


def test_memory_is_bounded_and_the_disk_can_be_switched_off(model: Any, tmp_path: Path) -> None:
    size = 16 * 32 * 4  # of one image's features: slots x width x float32
    off = FeatureFiles(tmp_path, 0)
    store = keeping(model("llava"), tmp_path)
    store.features = FeatureStore("these", store.info, off, memory_bytes=2 * size)
    images = [Prompt(ONE.messages, (tiny.picture(seed),)) for seed in range(3)]
    assert [calls(store, images[i]) for i in (0, 1, 0, 2, 0, 1)] == [1, 1, 0, 1, 0, 1], "the least recently used goes"
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_written_does_not_fail_the_answer(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(feature_files, "replacing", full)
    assert calls(keeping(model("llava"), tmp_path / "full")) == 1
    monkeypatch.undo()
    (tmp_path / "file").write_text("no folder")
    assert [calls(keeping(model("llava"), tmp_path / "file")) for _ in range(2)] == [1, 1]


class Output:
    """What an encoder returned that no one has seen before."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__ |= fields


@pytest.mark.parametrize(
    ("odd", "runs"), [({"router": (torch.ones(1),)}, 3), ({"router": 7}, 3)], ids=["a tensor more", "a number"]
)
def test_an_output_that_cannot_be_put_together_is_passed_on(model: Any, tmp_path: Path, odd: Any, runs: int) -> None:
    made = []

    def encode(pixel_values: torch.Tensor) -> Any:
        made.append(Output(pooler_output=list(pixel_values), **odd))
        return made[-1]

    store = FeatureStore("these", model("llava").info, FeatureFiles(tmp_path))
    pixels = {"pixel_values": torch.rand(2, 3, 4)}
    assert store.look_up(encode, pixels, [2]) == (made[-1], (False, False))
    assert len(made) == runs and len(made[-1].pooler_output) == 2


def test_one_image_s_output_is_kept_with_what_nobody_knows(tmp_path: Path, model: Any) -> None:
    def encode(pixel_values: torch.Tensor) -> Any:
        return Output(pooler_output=[pixel_values[0]], router=torch.ones(2), hidden_states=(torch.ones(9),))

    store = FeatureStore("these", model("llava").info, FeatureFiles(tmp_path))
    pixels = {"pixel_values": torch.rand(1, 3, 4)}
    for known in ((False,), (True,)):
        output, cached = store.look_up(encode, pixels, [1])
        assert isinstance(output, Encoded) and cached == known
        assert torch.equal(output.router, torch.ones(2)) and output.hidden_states is None  # type: ignore[arg-type]


def rows(lengths: list[int]) -> torch.Tensor:
    return torch.arange(sum(lengths)).float()[:, None]


@pytest.mark.parametrize(
    ("arguments", "images", "lengths"),
    [
        ({"pixel_values": rows([1, 1])}, [2], [1, 1]),
        ({"pixel_values": rows([1, 1]), "image_sizes": torch.ones(2, 2)}, [2], [1, 1]),
        ({"pixel_values": rows([4, 8]), "image_grid_thw": torch.tensor([[1, 2, 2], [1, 2, 4]])}, [2], [4, 8]),
        ({"pixel_values": rows([3, 1]), "crops": torch.tensor([3, 1])}, [1, 1], [3, 1]),
        ({"pixel_values": rows([5])}, [2], [5]),  # tiles: whose they are is not said
        ({"pixel_values": rows([1]), "batch_num_images": torch.tensor([2])}, [2], [1]),
        ({"pixel_values": rows([4]), "image_grid_thw": torch.tensor([[1, 2, 4], [1, 1, 1]])}, [2], [4]),
        ({"pixel_values": rows([1, 1])}, [2, 0], [2]),  # a row may be a prompt's
        ({"pixel_values": rows([6])}, [1], [6]),
    ],
)
def test_images_are_told_apart_or_left_together(
    arguments: dict[str, torch.Tensor], images: list[int], lengths: list[int]
) -> None:
    pieces = taken_apart(arguments, images)
    assert [len(piece["pixel_values"]) for piece in pieces] == lengths
    for name, value in arguments.items():
        assert torch.equal(torch.cat([piece[name] for piece in pieces]), value)


@pytest.mark.parametrize(
    ("shape", "images", "slots", "lengths"),
    [
        ((5,), [2], [16, 4], [4, 1]),
        ((5,), [1, 1], [4, 16], [1, 4]),
        ((1, 5), [2], [16, 4], [4, 1]),  # the rows of a single prompt
        ((5,), [2], [16, 5], [5]),  # tiles cannot be shared
        ((5,), [2], [20, 0], [5]),
        ((2, 5), [2, 1], [4, 4, 4], [5]),  # prompts with unlike numbers of images
        ((5,), [1], [20], [5]),
    ],
)
def test_tiles_are_told_apart_by_the_slots_of_their_images(
    shape: tuple[int, ...], images: list[int], slots: list[int], lengths: list[int]
) -> None:
    arguments = {"pixel_values": torch.rand(*shape, 3), "pixel_attention_mask": torch.rand(*shape, 2)}
    pieces = taken_apart(arguments, images, slots)
    along = len(shape) - 1
    assert [piece["pixel_values"].shape[along] for piece in pieces] == lengths
    for name, value in arguments.items():
        assert torch.equal(torch.cat([piece[name] for piece in pieces], dim=along), value)


def test_tiles_that_make_other_numbers_of_features_are_encoded_together(tmp_path: Path, model: Any) -> None:
    runs = []

    def encode(pixel_values: torch.Tensor) -> Any:
        runs.append(len(pixel_values))
        return Output(pooler_output=[torch.ones(2 * len(pixel_values), 3)])

    store = FeatureStore("these", model("llava").info, FeatureFiles(tmp_path))
    pixels = {"pixel_values": torch.rand(3, 3, 4)}
    store.look_up(encode, pixels, [2], slots=[4, 2])
    assert runs == [2, 1], "as many as slots: image by image"
    runs.clear()
    _, cached = store.look_up(encode, {"pixel_values": torch.rand(3, 3, 4)}, [2], slots=[8, 4])
    assert runs == [2, 1, 3] and cached == (False, False)
