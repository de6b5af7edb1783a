"""Our own decode step on a CPU, where it computes exactly what transformers' does; else transformers' own.

Shapes: D width of the decoder, V vocabulary, T positions read so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlmcli.errors import first_line
from vlmcli.models.composition import Cache
from vlmcli.models.cpu.cache import KeyValues
from vlmcli.models.cpu.machine import Conversation, Machine
from vlmcli.models.cpu.quantized import QuantizedLinear
from vlmcli.models.cpu.spec import DecoderSpec, Undescribed, describe
from vlmcli.models.cpu.weights import read_weights
from vlmcli.models.fusion import CrossAttention
from vlmcli.models.steps import CACHE, ROUNDING, difference, go_on, hooks_of

# Below this many bytes of weights a step takes transformers a few milliseconds: loading our own would not pay.
WORTH_BYTES = 32_000_000

# How far the first step may be from transformers' where values are rounded to int8.
_ROUNDS_VALUES = 0.2

# What another version of transformers may bring: names and shapes that are not what they were.
_SURPRISES = (AttributeError, KeyError, IndexError, TypeError, ValueError)


class CpuSteps:
    """How one model on a CPU takes its steps.

    The first step of a model, with and without images, is computed in both ways: where they differ by more than
    rounding, transformers' steps are taken from then on.
    """

    def __init__(self, model: Any, worth_bytes: int | None = None) -> None:
        self._model = model
        self._reason = ""
        self._machine: Machine | None = None
        self._checked: set[bool] = set()
        self._next_position = 0
        try:
            self._spec, self._decoder, self._head = described(model)
            self._weights = read_weights(self._spec, self._decoder, self._head)
            if worth_bytes is None:  # quantised weights would be unpacked for every step of transformers'
                worth_bytes = 0 if isinstance(self._head, QuantizedLinear) else WORTH_BYTES
            if self._weights.nbytes < worth_bytes:
                raise Undescribed(f"{self._weights.nbytes / 1e6:.0f} MB of weights are too few for ours to pay")
            self._hooks = hooks_of(self._decoder, self._head, but=self._decoder.rotary_emb)
            self._decoder.rotary_emb.register_forward_pre_hook(self._watch, with_kwargs=True)
        except Undescribed as error:
            self._reason = error.message
        except _SURPRISES as error:
            self._reason = f"its modules are not as expected: {first_line(error)}"

    @property
    def note(self) -> str:
        """Which step is in use, and why where it is transformers'."""
        if self._reason:
            return f"transformers' decode step: {self._reason}"
        return "our own decode step" + (f": {self._machine.note}" if self._machine else "")

    def prefilled(self, state: Any, sees: bool) -> None:
        """A prompt has been read: take the conversation over, where this one can be."""
        if not self._reason and len(state.ids) == 1:
            state.own = Conversation(self._next_position - state.length, sees)

    def step(self, state: Any, token_ids: Sequence[int], ordinary: Callable[[], Tensor]) -> Tensor:
        """Append one token to each conversation: the logits [B, V] of the next; ``ordinary`` is transformers' way."""
        if state.own is not None and (self._looked_at() or torch.is_grad_enabled()):
            self.give_back(state)
        if state.own is None:
            return ordinary()
        if state.own.cache is not None:
            return self._advance(state, token_ids[0], self._compute(state, token_ids[0]))
        try:
            return self._first(state, token_ids[0], ordinary)
        except Undescribed as error:
            self._reason = error.message
        except _SURPRISES as error:
            self._reason = f"its cache is not as expected: {first_line(error)}"
        state.own = None
        return ordinary()

    def give_back(self, state: Any) -> None:
        """Let transformers go on with a conversation: cache, masks and positions as after its steps."""
        own, state.own = state.own, None
        if own is None or own.cache is None:
            return
        cache: Any = own.cache.given_back(self._model.config.get_text_config())
        if own.wrapped is not None:
            cache = replace(own.wrapped, decoder=cache, length=state.length)
        state.carried = go_on(self._model, state.carried, cache, state.length - own.began)

    def _first(self, state: Any, token_id: int, ordinary: Callable[[], Tensor]) -> Tensor:
        """The first step of a conversation, from the keys and values of its prompt. Raises Undescribed."""
        if self._reason:
            raise Undescribed(self._reason)  # found out since its prompt was read
        self._make_ready()
        own, prompt = state.own, state.carried.get(CACHE)
        own.cache = KeyValues(self._spec, state.length, self._model.dtype)
        if isinstance(prompt, Cache):  # a composition's, which has the decoder's in it
            own.wrapped, prompt = replace(prompt, decoder=None), prompt.decoder
        own.cache.fill(prompt, state.length)
        own.began = state.length
        logits = self._compute(state, token_id)
        if own.sees in self._checked:
            state.carried[CACHE] = None  # ours goes on alone
            return self._advance(state, token_id, logits)
        reference = ordinary()  # which advances the state too
        assert self._machine is not None
        bound = _ROUNDS_VALUES if self._machine.rounds_values else ROUNDING[self._model.dtype]
        if reason := difference(logits, reference, bound):
            self._reason, state.own = reason, None
            return reference
        self._checked.add(own.sees)
        own.began, state.carried[CACHE], state.logits = state.length, None, logits
        return logits

    def _compute(self, state: Any, token_id: int) -> Tensor:
        """The logits [1, V] behind a token; the cache grows by it."""
        assert self._machine is not None
        embedding = self._decoder.embed_tokens(torch.tensor([[token_id]]))[0, 0]  # [D]
        return self._machine.step(state.own, embedding)[None]

    @staticmethod
    def _advance(state: Any, token_id: int, logits: Tensor) -> Tensor:
        state.ids = torch.cat([state.ids, torch.tensor([[token_id]])], dim=1)  # [1, T + 1]
        state.logits = logits
        return logits

    def _make_ready(self) -> None:
        if self._weights.moved(self._decoder, self._head):
            self._weights, self._machine = read_weights(self._spec, self._decoder, self._head), None
            self._checked.clear()
        if self._machine is None:
            self._machine = Machine(self._weights)

    def _looked_at(self) -> bool:
        """Whether somebody looks at what transformers' modules compute, or changes it."""
        return any(map(len, self._hooks))

    def _watch(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The rotary positions that the decoder really used: some families take fewer than there are slots."""
        positions = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
        self._next_position = int(positions.max()) + 1


def described(model: Any) -> tuple[DecoderSpec, Any, Any]:
    """The spec of a model's decoder, its module, and the output head. Raises Undescribed."""
    if model.device.type != "cpu" or model.dtype not in (torch.float32, torch.bfloat16):
        raise Undescribed(f"{str(model.dtype).removeprefix('torch.')} on {model.device.type}")
    if any(isinstance(module, CrossAttention) for module in model.modules()):
        raise Undescribed("cross-attention looks at the pictures in every step")
    spec = describe(model.config.get_text_config())
    decoder = next((module for module in model.modules() if type(module).__name__ == spec.decoder), None)
    if decoder is None:
        raise Undescribed(f"no {spec.decoder} is in it")
    return spec, decoder, model.get_output_embeddings()
