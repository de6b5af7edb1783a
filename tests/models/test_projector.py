"""Projectors against transformers' own, and against their definitions written plainly."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vlmcli.catalog import PROJECTORS
from vlmcli.errors import ModelError
from vlmcli.models.projector import build, kind_of, pixel_shuffle

WIDTH, DECODER_WIDTH, PATCHES = 32, 48, 16


@pytest.mark.parametrize("kind", list(PROJECTORS))
def test_a_picture_becomes_as_many_embeddings_as_announced(kind: str) -> None:
    projector = build(kind, WIDTH, DECODER_WIDTH, PATCHES, {})
    made = projector(torch.randn(3, PATCHES, WIDTH))
    assert made.shape == (3, projector.tokens(PATCHES), DECODER_WIDTH)
    assert made.std() > 1e-3


@pytest.mark.parametrize("kind", [kind for kind in PROJECTORS if kind != "perceiver"])
def test_neighbours_stay_together(kind: str) -> None:
    """Changing the patches of one corner changes that corner's embeddings and no others."""
    projector = build(kind, WIDTH, DECODER_WIDTH, PATCHES, {})
    features = torch.randn(1, PATCHES, WIDTH)
    other = features.clone()
    other[0, [0, 1, 4, 5]] += torch.randn(4, WIDTH)  # the four patches of the top left corner of 4 x 4
    changed = (projector(features) - projector(other)).abs().amax(-1)[0] > 1e-6
    corner = {0} if projector.tokens(PATCHES) == 4 else {0, 1, 4, 5}
    assert set(changed.nonzero().flatten().tolist()) == corner


def test_pixel_shuffle_is_internvls(model: Any) -> None:
    vlm = model("internvl")
    features = torch.randn(2, 16, 8)
    theirs = vlm.model.model.pixel_shuffle(features.view(2, 4, 4, 8), scale_factor=0.5).flatten(1, 2)
    assert torch.equal(pixel_shuffle(features, 2), theirs)


def test_average_pool_is_the_mean_of_its_patches() -> None:
    projector = build("average-pool", WIDTH, DECODER_WIDTH, PATCHES, {"factor": 2})
    features = torch.randn(1, PATCHES, WIDTH)
    means = torch.stack([features[0, [r, r + 1, r + 4, r + 5]].mean(0) for r in (0, 2, 8, 10)])  # [4, D]
    assert (projector(features)[0] - projector.mlp(means)).abs().max() < 1e-5


def test_the_resampler_sees_every_patch() -> None:
    projector = build("perceiver", WIDTH, DECODER_WIDTH, PATCHES, {"queries": 5, "heads": 4})
    features = torch.randn(1, PATCHES, WIDTH)
    before = projector(features)
    assert before.shape == (1, 5, DECODER_WIDTH)
    for patch in (0, 7, 15):
        other = features.clone()
        other[0, patch] += 3.0
        assert (projector(other) - before).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["linear", "mlp", "pixel-shuffle-mlp"])
def test_weights_say_what_they_belong_to(kind: str) -> None:
    made = build(kind, WIDTH, DECODER_WIDTH, PATCHES, {})
    found, options = kind_of(made.state_dict(), WIDTH)
    assert found == kind
    build(found, WIDTH, DECODER_WIDTH, PATCHES, options).load_state_dict(made.state_dict())


@pytest.mark.parametrize(
    ("kind", "patches", "options"),
    [
        ("mpl", 16, {}),
        ("mlp", 16, {"factor": 2}),
        ("mlp", 16, {"activation": "nonsense"}),
        ("average-pool", 15, {}),
        ("pixel-shuffle-mlp", 9, {"factor": 2}),
    ],
)
def test_what_cannot_be_built_is_said(kind: str, patches: int, options: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        build(kind, WIDTH, DECODER_WIDTH, patches, options)


def test_foreign_weights_are_named() -> None:
    with pytest.raises(ModelError, match=r"mm\.0\.weight"):
        kind_of({"mm.0.weight": torch.zeros(2, 2)}, WIDTH)
