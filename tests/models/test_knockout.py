"""A position that is kept from looking does not look; everything else stays as it was."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
import torch

from tests.families import FAMILIES, Family
from tests.models.test_parity import asked, case_id
from vlmcli.errors import ModelError
from vlmcli.models.knockout import check_masks, knocked_out
from vlmcli.models.vlm import Vlm

UNCUT = {"mllama": "block 2 of 3", "lfm2_vl": "block 1 of 2", "qwen3_5": "block 1 of 2", "qwen3_5_moe": "block 1 of 2"}
STREAMS = ("gemma3n",)  # its blocks hand on several hidden states at once
CUT = [family for family in FAMILIES if family.tiny not in (*UNCUT, *STREAMS)]
NEXT = 5  # some token of an answer


def inputs_of(vlm: Vlm, family: Family) -> Any:
    return vlm.encode(vlm.prepare(asked(family, "one image")[0]))


def by_name(name: str) -> Family:
    return next(family for family in FAMILIES if family.tiny == name)


def two_steps(vlm: Vlm, inputs: Any) -> torch.Tensor:
    """The distributions after the prompt and after one more token [2, V]."""
    state = vlm.prefill(inputs)
    first = state.logits
    return torch.stack([first, vlm.step(state, NEXT)]).softmax(-1)


@pytest.mark.parametrize("family", CUT, ids=case_id)
def test_a_knockout_of_nothing_changes_nothing(model: Any, family: Family) -> None:
    """Masks are written out where the model had none, and say the same."""
    vlm = model(family.tiny)
    inputs = inputs_of(vlm, family)
    plain = two_steps(vlm, inputs)
    with knocked_out(vlm, range(len(vlm.blocks)), []):
        masked = two_steps(vlm, inputs)
    assert (plain - masked).abs().max() <= 1e-5
    assert torch.equal(two_steps(vlm, inputs), plain), "a hook was left behind"


@pytest.mark.parametrize("family", CUT, ids=case_id)
def test_what_is_cut_off_is_not_seen(model: Any, family: Family) -> None:
    """With other hidden states at the positions that are cut off, each block still says the same at the last one.

    And not without the knockout: otherwise this would hold of positions that nobody looks at.
    """
    vlm = model(family.tiny)
    inputs = inputs_of(vlm, family)
    cut = range(len(inputs.ids) - 1)
    for number in range(len(vlm.blocks)):
        with knocked_out(vlm, [number], cut):
            blind = [_leaving(vlm, inputs, number, change) for change in ((), cut)]
        seeing = [_leaving(vlm, inputs, number, change) for change in ((), cut)]
        assert torch.allclose(*blind, atol=1e-5), f"block {number} sees what it must not"
        assert not torch.allclose(*seeing, atol=1e-5)
        assert not torch.allclose(blind[0], seeing[0], atol=1e-5)


def _leaving(vlm: Vlm, inputs: Any, number: int, change: Any) -> torch.Tensor:
    """What leaves a block at the last position, in the prefill and in a step, with others at ``change`` entering it."""
    kept: list[torch.Tensor] = []
    block = vlm.blocks[number]

    def keep(_: Any, args: Any, output: Any) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output)[0, -1])

    def enter(_: Any, args: Any, kwargs: Any) -> Any:
        hidden = args[0].clone()
        if hidden.shape[1] > 1 and change:
            hidden[:, list(change)] = hidden[:, list(change)].flip(-1) + 1
        return (hidden, *args[1:]), kwargs

    with ExitStack() as hooks:
        for handle in (
            block.register_forward_pre_hook(enter, with_kwargs=True),
            block.register_forward_hook(
                lambda _, args, out: kept.append((out[0] if type(out) is tuple else out)[0, -1])
            ),
        ):
            hooks.callback(handle.remove)
        state = vlm.prefill(inputs)
        if number == 0:  # behind it, what the first token sees depends on what the earlier blocks made of the change
            vlm.step(state, NEXT)
    return torch.cat(kept)


@pytest.mark.parametrize("family", CUT, ids=case_id)
def test_masks_that_hold_pass_the_check(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    check_masks(vlm, inputs_of(vlm, family))


@pytest.mark.parametrize(("name", "says"), UNCUT.items())
def test_what_no_mask_cuts_is_refused(model: Any, name: str, says: str) -> None:
    """Cross-attention, a convolution, a recurrence: the image gets past any mask."""
    vlm = model(name)
    with pytest.raises(ModelError, match=says):
        check_masks(vlm, inputs_of(vlm, by_name(name)))


def test_only_the_wanted_blocks_are_touched(model: Any) -> None:
    vlm = model("llava")
    inputs = inputs_of(vlm, by_name("llava"))
    slots = [index for index, image in enumerate(inputs.is_image) if image]
    plain, one, both = (_blocks(vlm, inputs, blocks, slots) for blocks in ([], [1], [0, 1]))
    assert torch.equal(plain[0], one[0]) and not torch.allclose(plain[1], one[1])
    assert not torch.allclose(plain[0], both[0])
    assert torch.allclose(plain[0][:-1], both[0][:-1], atol=1e-5), "a position other than the last one is cut"


def _blocks(vlm: Vlm, inputs: Any, blocks: list[int], cut: list[int]) -> list[torch.Tensor]:
    """What leaves each block [T, D] with attention cut in ``blocks``."""
    kept: list[torch.Tensor] = []
    handles = [block.register_forward_hook(lambda _, args, out: kept.append(out[0])) for block in vlm.blocks]
    with knocked_out(vlm, blocks, cut):
        vlm.prefill(inputs)
    for handle in handles:
        handle.remove()
    return kept


def test_several_streams_are_refused(model: Any) -> None:
    vlm = model("gemma3n")
    with pytest.raises(ModelError, match="several streams"):
        check_masks(vlm, inputs_of(vlm, by_name("gemma3n")))
