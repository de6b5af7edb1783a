"""How a model takes its decode steps: by transformers' forward, or in a faster way that computes the same.

Shapes: B conversations side by side, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import GenerationMixin

from vlmcli.config import setting
from vlmcli.models.families import family_of

Ordinary = Callable[[], Tensor]
"""transformers' step: it advances the state, and returns the logits [B, V] of the token that comes next."""


CACHE = "past_key_values"
"""What transformers calls the cache among the arguments that a conversation carries."""

ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
"""How far a step may be from transformers', of the largest logit: what is beyond is no rounding."""


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
    """The fastest way to take exact steps of a model where it is. Raises UsageError for a setting that is none."""
    if getattr(model, "hf_device_map", None):  # spread over several devices
        return OrdinarySteps()
    if model.device.type == "cpu":
        from vlmcli.models.cpu.steps import CpuSteps

        return CpuSteps(model)
    if model.device.type == "cuda" and setting("cuda_graph", None, False):
        from vlmcli.models.static import StaticSteps

        return StaticSteps(model.get_submodule(family_of(model.config).decoder))
    return OrdinarySteps()


def hooks_of(*modules: nn.Module, but: nn.Module | None = None) -> list[Sized]:
    """Where torch keeps the hooks of modules and all within, ``but`` for one: what is not empty looks at a forward."""
    inner = [module for outer in modules for module in outer.modules() if module is not but]
    return [hooks for module in inner for hooks in (module._forward_hooks, module._forward_pre_hooks)]


def difference(logits: Tensor, reference: Tensor, bound: float) -> str:
    """In words, where logits [B, V] are further from transformers' than ``bound`` of the largest; else empty."""
    reference = reference.float()
    error = float((logits.float() - reference).abs().max() / reference.abs().max().clamp_min(1.0))
    return "" if error <= bound else f"ours differs from it by {error:.1%} of the largest logit"


def go_on(model: Any, carried: dict[str, Any], cache: Any, more: int) -> dict[str, Any]:
    """What transformers' next step is to be called with, ``more`` steps later than ``carried`` says."""
    carried = {**carried, CACHE: cache}
    if more:
        carried = GenerationMixin._update_model_kwargs_for_generation(model, {}, carried, False, more)
    return carried
