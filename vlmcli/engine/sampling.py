"""Logits -> a distribution -> a token. The filters are transformers' own logits processors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from vlmcli.errors import NumericalError, UsageError
from vlmcli.types.chat import Sampling


def check(sampling: Sampling) -> None:
    """Raises UsageError for values that mean nothing."""
    rules = (
        (sampling.max_tokens >= 1, "max_tokens must be at least 1"),
        (0 <= sampling.temperature < math.inf, "temperature must be 0 or more"),
        (0 < sampling.top_p <= 1, "top_p must be above 0 and at most 1"),
        (sampling.top_k >= 0, "top_k must be 0 (off) or more"),
        (0 <= sampling.min_p <= 1, "min_p must be between 0 and 1"),
        (0 < sampling.repetition_penalty < math.inf, "repetition_penalty must be above 0"),
        (sampling.seed is None or 0 <= sampling.seed < 2**63, "seed must be between 0 and 2**63 - 1"),
        (sampling.top_logprobs >= 0, "top_logprobs must be 0 or more"),
    )
    for holds, message in rules:
        if not holds:
            raise UsageError(message)


def logprobs(logits: Tensor) -> Tensor:
    """Log-probabilities [..., V] in float32 of raw logits [..., V]: the model's own, before any filter.

    Raises NumericalError for NaN and for infinities; minus infinity alone is a token that the model rules out.
    """
    logits = logits.float()
    if not torch.isfinite(torch.logsumexp(logits, dim=-1)).all():
        raise NumericalError("the model produced NaN or infinite logits", hint="try --dtype float32")
    return torch.log_softmax(logits, dim=-1)


class Sampler:
    """Picks tokens: greedily at temperature 0, else drawn from the filtered distribution with an own generator."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        check(sampling)
        self._greedy = sampling.temperature == 0
        self._processors = _processors(sampling)
        self._generator = torch.Generator(device)
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def __call__(self, history: Sequence[int], logits: Tensor) -> int:
        """The next id, after the ids in ``history`` (prompt and answer), from raw logits [V]."""
        scores = logits.float()[None]  # [1, V]
        if self._processors:
            scores = self._processors(torch.tensor([history], device=logits.device), scores.clone())
        if self._greedy:
            return int(scores.argmax(dim=-1))
        probabilities = torch.softmax(scores, dim=-1)  # [1, V]
        return int(torch.multinomial(probabilities, num_samples=1, generator=self._generator))


def _processors(sampling: Sampling) -> LogitsProcessorList:
    """The filters that are switched on, in the order of transformers' ``generate``."""
    chosen = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        chosen.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature == 0:
        return chosen  # the others never change which token is the likeliest
    if sampling.temperature != 1:
        chosen.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k:
        chosen.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chosen.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0:
        chosen.append(MinPLogitsWarper(sampling.min_p))
    return chosen
