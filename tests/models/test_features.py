"""Kept features: the same answer, and no second run of the encoder; whatever changes the features is another entry."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests import tiny
from tests.families import FAMILIES, Family
from tests.models.test_composition import Compose, compose, open_gates, question
from vlmcli.inputs.chat import Prompt
from vlmcli.models import feature_files
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.models.features import Encoded, FeatureStore, taken_apart
from vlmcli.models.load import load
from vlmcli.models.vlm import Vlm
from vlmcli.types import Message
from vlmcli.weights.resolve import Checkpoint

__all__ = ["compose"]  # a fixture

TOLERANCE = 1e-5  # of probabilities, in float32
SEEING = [family for family in FAMILIES if family.method != "none"]
# Their forward takes pixels only.
PIXELS_ONLY = {"mllama", "kosmos2", "idefics", "git"}
# Their images are cut into tiles, or several share a row: all images of a prompt are one entry.
TOGETHER = {"llava_onevision", "molmo2", "internvl", "internvit_6b", "nvlm_d", "internvl_chat", "aria", "idefics2"}
TOGETHER |= {"idefics3", "smolvlm", "aya_vision", "cohere2_vision", "ovis2", "llama4", "lfm2_vl"}

ONE = Prompt((Message("user", "What is in the image?", 1),), (tiny.picture(1, (40, 40)),))
TWO = Prompt((Message("user", "What is it?", 2),), (tiny.picture(1, (40, 40)), tiny.picture(2, (70, 50))))


def keeping(vlm: Vlm, folder: Path, weights: str = "these", **options: Any) -> Vlm:
    """The same model, with a feature store of its own as another process would have."""
    store = FeatureStore(weights, vlm.info, FeatureFiles(folder), **options)
    return Vlm(vlm.model, vlm.processor, vlm.info, vlm.template, store)


@contextmanager
def counted(vlm: Vlm) -> Iterator[list[int]]:
    """How many images (rows of what goes in first) each call of the encoder got."""
    base, calls = vlm.model.base_model, []
    own = base.get_image_features

    @functools.wraps(own)
    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return own(*args, **kwargs)

    base.get_image_features = count
    try:
        yield calls
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
