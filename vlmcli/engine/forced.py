"""Teacher forcing: the model reads an answer that was given to it, and says how likely each token was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vlmcli.engine.decode import Decoder, decode_one
from vlmcli.engine.sampling import logprobs
from vlmcli.errors import InputError
from vlmcli.inputs.answer import Ids, ways
from vlmcli.models.prompts import Batch
from vlmcli.models.vlm import Vlm


def follow(model: Decoder, state: Any, ids: Sequence[int]) -> Iterator[Tensor]:
    """The log-probabilities [V] of the next token, before the first of ``ids`` and after each of them.

    The steps are those of generation, so that the figures are too, and no more than [V] is held. A step is taken when
    its distribution is asked for, and changes ``state``.
    """
    yield distribution(state)
    for token_id in ids:
        decode_one(model, state, token_id)
        yield distribution(state)


def answer_logprobs(model: Vlm, batch: Batch, ids: Sequence[int]) -> Tensor:
    """The log-probabilities [B, A] of the tokens ``ids`` [A] as the answer to each of B prompts.

    The steps are those of generation, as in ``follow``. Gradients flow if the model lets them (``Vlm.mode``). Raises
    NumericalError.
    """
    state = model.prefill_batch(batch)
    with model.mode():
        said = [logprobs(state.logits)[:, ids[0]]]  # [B]
        for before, token_id in pairwise(ids):
            logits = model.step_batch(state, [before] * len(batch.rows))  # [B, V]
            said.append(logprobs(logits)[:, token_id])
        return torch.stack(said, dim=1)  # [B, A]


def distribution(state: Any) -> Tensor:
    """The log-probabilities [V] of the token that comes next. Raises NumericalError."""
    with torch.inference_mode():
        return logprobs(state.logits)


def likeliest_way(tokenizer: Any, texts: Sequence[str], prompt: Sequence[int], first: Tensor) -> tuple[Ids, ...]:
    """The ids of each of ``texts`` as the model would say it after ``prompt``, chosen for all of them together.

    Of the ways in which a text can be written, the one whose first tokens have the most probability in ``first`` [V]:
    for a greedy answer it is the one that greedy decoding took. Raises InputError for texts without tokens.
    """

    def share(way: tuple[Ids, ...]) -> float:
        return math.fsum(math.exp(float(first[i])) for i in {ids[0] for ids in way} if i < len(first))

    possible = ways(tokenizer, texts, prompt[-1])
    if not possible:
        raise InputError("the model's tokenizer makes no tokens of this answer")
    return max(possible, key=share)


def rank(distribution: Tensor, token_id: int) -> int:
    """1 for the likeliest token of log-probabilities [V]."""
    return int((distribution > distribution[token_id]).sum()) + 1


def entropy(distribution: Tensor) -> float:
    """Of log-probabilities [V], in nats."""
    return float(torch.special.entr(distribution.exp()).sum())


def end_logprob(distribution: Tensor, eos_ids: frozenset[int]) -> float:
    """That the answer ends here, by any of the tokens that end one."""
    return float(distribution[sorted(eos_ids)].logsumexp(0))
