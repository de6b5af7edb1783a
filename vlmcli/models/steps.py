"""How a model takes its decode steps: by transformers' forward, or in a faster way that computes the same.

Shapes: B conversations side by side, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

Ordinary = Callable[[], Tensor]
"""transformers' step: it advances the state, and returns the logits [B, V] of the token that comes next."""


class Steps(Protocol):
    """A way to take steps. A conversation that is taken over is kept in ``state.own``, which ``fork`` copies."""

    @property
    def note(self) -> str:
        """Which step is in use, and why: a line for people who ask (``-v``)."""

    def prefilled(self, state: Any, sees: bool) -> None:
        """The prompts of ``state`` have been read, with images where it ``sees``; none is if nothing is set there."""

    def step(self, state: Any, token_ids: Sequence[int], ordinary: Ordinary) -> Tensor:
        """Append one token to each conversation, and advance the state: the logits [B, V] of the next."""

    def give_back(self, state: Any) -> None:
        """Let transformers go on with a conversation that was taken over, from where it is."""


class OrdinarySteps:
    """transformers' own, for everything."""

    note = "transformers' decode step"

    def prefilled(self, state: Any, sees: bool) -> None:
        """Nothing to take over."""

    def give_back(self, state: Any) -> None:
        """It is there."""

    def step(self, state: Any, token_ids: Sequence[int], ordinary: Ordinary) -> Tensor:
        """What transformers makes of it."""
        return ordinary()


def steps_for(model: Any) -> Steps:
    """The fastest way to take exact steps of a model where it is."""
    if model.device.type != "cpu" or getattr(model, "hf_device_map", None):  # or spread over several devices
        return OrdinarySteps()
    from vlmcli.models.cpu.steps import CpuSteps

    return CpuSteps(model)
