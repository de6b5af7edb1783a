"""What the watch sees is what the model computes, and watching changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.families import FAMILIES, Family
from tests.models.test_parity import SEEING, asked, case_id
from vlmcli.models.lens import projected_patches
from vlmcli.models.memory import PeakMemory
from vlmcli.models.stages import Watch, figures, watched

# No module of theirs runs as an encoder: they call one of its methods, or have none.
UNSEEN = ("fuyu", "chameleon", "emu3", "fast_vlm")


def watch_of(vlm: Any, family: Family, keep: bool = True) -> tuple[Watch, torch.Tensor, Any]:
    inputs = vlm.prepare(asked(family, "one image")[0])
    watch = Watch(vlm.device, keep)
    with watched(vlm, watch):
        watch.enter("project")
        encoded = vlm.encode(inputs)
        watch.enter("fuse")
        state = vlm.prefill(encoded)
        watch.pause()
    return watch, state.logits, encoded


def hooks_of(vlm: Any) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in vlm.model.modules())


@pytest.mark.parametrize("family", FAMILIES, ids=case_id)
def test_watching_changes_nothing(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    plain = vlm.prefill(vlm.prepare(asked(family, "one image")[0])).logits
    before = hooks_of(vlm)  # transformers' own, which come with the first use
    _, watched_logits, _ = watch_of(vlm, family)
    assert torch.equal(plain, watched_logits)
    assert hooks_of(vlm) == before


@pytest.mark.parametrize("family", [f for f in SEEING if f.tiny not in UNSEEN], ids=case_id)
def test_every_stage_is_seen(model: Any, family: Family) -> None:
    watch, _, encoded = watch_of(model(family.tiny), family)
    wanted = {"patchify", "encode", "project", "fuse"} - ({"project"} if family.tiny == "idefics" else set())
    seen = {name for name, stage in watch.stages.items() if stage.figures is not None and stage.ms > 0}
    assert seen >= wanted
    if (patches := projected_patches(encoded)) is not None and family.tiny in ("llava", "paligemma", "qwen2_vl"):
        assert torch.equal(watch.stages["project"].tensors[0].flatten(0, -2), patches)


def test_the_fused_sequence_holds_text_and_patches(model: Any) -> None:
    vlm = model("llava")
    watch, _, encoded = watch_of(vlm, FAMILIES[0])
    (sequence,) = watch.stages["fuse"].tensors  # [1, T, D]
    text = vlm.model.get_input_embeddings()(torch.tensor(encoded.ids))
    slots = torch.tensor(encoded.is_image)
    assert torch.equal(sequence[0][~slots], text[~slots]) and torch.equal(
        sequence[0][slots], projected_patches(encoded)
    )


def test_encode_ends_where_an_inner_projector_begins(model: Any) -> None:
    """Qwen-VL's merger is a part of the encoder's module: sixteen patches go in and four come out."""
    family = next(family for family in FAMILIES if family.tiny == "qwen3_vl")
    watch, _, encoded = watch_of(model("qwen3_vl"), family)
    assert watch.stages["encode"].tensors[0].shape[0] == 4 * encoded.slots
    assert watch.stages["project"].tensors[0].shape[0] == encoded.slots


def test_figures_count_what_is_no_number() -> None:
    tensors = (torch.tensor([[1.0, math.nan]]), torch.tensor([4.0, -2.0]))
    seen = figures(tensors)
    assert seen is not None
    assert (seen.shapes, seen.dtype, seen.low, seen.mean, seen.high, seen.nans) == (
        ((1, 2), (2,)),
        "float32",
        -2.0,
        1.0,
        4.0,
        1,
    )
    empty = figures((torch.tensor([math.nan]),))
    assert empty is not None and (empty.low, empty.mean, empty.high, empty.nans) == (None, None, None, 1)
    assert figures(()) is None
    pixels = figures((torch.tensor([0, 255], dtype=torch.uint8),))
    assert pixels is not None and (pixels.mean, pixels.dtype) == (127.5, "uint8")


def test_the_sum_of_halves_does_not_overflow() -> None:
    seen = figures((torch.full((100_000,), 60_000.0, dtype=torch.float16),))
    assert seen is not None and seen.mean == 60_000.0 - 60_000.0 % 32


def test_nothing_is_held_unless_it_is_kept(model: Any) -> None:
    watch, _, _ = watch_of(model("llava"), FAMILIES[0], keep=False)
    assert all(stage.tensors == [] for stage in watch.stages.values())


def test_the_peak_is_that_of_the_work_since_the_reset() -> None:
    memory = PeakMemory(torch.device("cpu"))
    if memory.peak_bytes is None:
        pytest.skip("THIS SYSTEM DOES NOT TELL HOW MUCH MEMORY A PROCESS NEEDS AT MOST")
    before = memory.held_bytes
    block = torch.ones(50_000_000)  # 200 MB, written to
    del block
    assert before is not None and memory.peak_bytes - before > 150e6
    memory.reset()
    assert memory.peak_bytes - before < 100e6
