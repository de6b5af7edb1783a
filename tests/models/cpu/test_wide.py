"""Products in float32 where a processor only imitates bfloat16: as near to the truth, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from vlmcli.inputs.chat import Prompt
from vlmcli.models import load
from vlmcli.models.cpu import wide
from vlmcli.models.cpu.wide import MANY_ROWS, WideProducts, wide_products
from vlmcli.types.chat import Message
from vlmcli.weights.resolve import Checkpoint


@pytest.fixture
def widened(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The weights' shapes of the products that were computed in float32."""
    shapes: list[torch.Size] = []
    really = wide._in_float32

    def noted(input: Any, weight: Any, bias: Any = None) -> Any:
        shapes.append(weight.shape)
        return really(input, weight, bias)

    monkeypatch.setattr(wide, "_in_float32", noted)
    return shapes


@pytest.mark.parametrize("bias", [True, False])
def test_only_sums_are_less_rounded(bias: bool) -> None:
    torch.manual_seed(0)
    layer, values = nn.Linear(300, 40, bias=bias).bfloat16(), torch.randn(2, MANY_ROWS, 300).bfloat16()
    with torch.inference_mode(), WideProducts():
        made = layer(values)
    exact = layer.double()(values.double())
    assert made.dtype == torch.bfloat16
    assert ((made - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all(), "more than the last rounding is lost"


def test_few_rows_and_other_numbers_are_left_alone(widened: list[torch.Size]) -> None:
    values, weight = torch.randn(MANY_ROWS, 8), torch.randn(4, 8)
    with WideProducts():
        nn.functional.linear(values.bfloat16()[1:], weight.bfloat16())
        nn.functional.linear(values, weight)
        assert not widened
        nn.functional.linear(values.bfloat16(), weight.bfloat16())
    assert widened == [weight.shape]


def test_a_large_matrix_is_not_copied(widened: list[torch.Size], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "MOST_WEIGHTS", 31)
    with WideProducts():
        nn.functional.linear(torch.randn(MANY_ROWS, 8).bfloat16(), torch.randn(4, 8).bfloat16())
    assert not widened


@pytest.mark.parametrize(("dtype", "imitates"), [("bfloat16", True), ("bfloat16", False), ("float32", True)])
def test_a_prompt_is_read_so_where_it_pays(
    dtype: str,
    imitates: bool,
    checkpoint: Callable[[str], Checkpoint],
    widened: list[torch.Size],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wide, "imitates_bfloat16", lambda: imitates)
    vlm: Any = load.load(checkpoint("llama"), device="cpu", dtype=dtype)
    state = vlm.prefill(vlm.prepare(Prompt((Message("user", "star " * MANY_ROWS),), raw=True)))
    assert bool(widened) == (dtype == "bfloat16" and imitates)
    widened.clear()
    vlm.step(state, 5)
    assert not widened, "a step reads each weight once"
    assert (wide_products(vlm.model) is WideProducts) == (dtype == "bfloat16" and imitates)
