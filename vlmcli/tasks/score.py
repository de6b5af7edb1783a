"""How likely a given answer is, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from vlmcli.engine.decode import prefill, top_tokens
from vlmcli.engine.forced import distribution, entropy, follow, likeliest_way, rank
from vlmcli.errors import ContextOverflow, InputError, UsageError
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Request, image_infos, usage
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.score import Scored, ScoredToken


def score(
    vlm: Vlm,
    request: Request,
    answer: str = "",
    *,
    answer_ids: Sequence[int] = (),
    k: int = 5,
    end: bool = True,
) -> Scored:
    """The log-probability of ``answer``, or of ``answer_ids`` as they stand, read one token at a time.

    The text is written with the tokens with which the model would say it (``engine.forced.likeliest_way``); ``end``
    counts the likeliest end-of-sequence token as the answer's last one. So the sum over a greedy answer is that of the
    log-probabilities which ``ask`` gives. Each token has its ``k`` likeliest alternatives.

    ``timings_ms``: ``load``, ``prepare``, ``prefill``, ``score``, ``total``.

    Raises UsageError for no answer, InputError for one that holds an image slot, ContextOverflow where it does not fit
    behind the prompt, and what ``ask`` raises.
    """
    if not answer and not answer_ids:
        raise UsageError("the answer is empty")
    if k < 0:
        raise UsageError("k must be 0 or more")
    watch = Stopwatch(request.load_ms)
    inputs = vlm.prepare(request.prompt)
    watch.lap("prepare")
    state = prefill(vlm, inputs)
    first = distribution(state)
    ids = tuple(answer_ids) or likeliest_way(vlm.tokenizer, [answer], inputs.ids, first)[0]
    check_answer(vlm, inputs, ids, len(first))
    watch.lap("prefill")
    ends = vlm.eos_ids if end and not answer_ids else frozenset()
    tokens = tuple(_tokens(vlm, follow(vlm, state, ids), ids, ends, k))
    watch.lap("score")
    infos, text = image_infos(request.images, inputs), answer or vlm.vocabulary.decode(list(ids))
    return Scored(text, tokens, vlm.info, infos, usage(inputs, len(tokens)), watch.timings_ms())


def check_answer(vlm: Vlm, inputs: Inputs, ids: Sequence[int], vocabulary: int) -> None:
    """Whether the model can read these tokens behind the prompt; ``vocabulary`` is what its head knows.

    Raises InputError and ContextOverflow.
    """
    for token_id in ids:
        if token_id == vlm.image_token_id or not 0 <= token_id < vocabulary:
            raise InputError(f"the answer holds {vlm.vocabulary.token(token_id)!r}, which this model cannot say")
    length = len(inputs.ids) + len(ids)
    if vlm.context is not None and length > vlm.context:
        raise ContextOverflow(
            f"the prompt and the answer take {length} tokens, and the model's context is {vlm.context}",
            hint="shorten them, show fewer images, or use a model with a longer context",
        )


def _tokens(
    vlm: Vlm, distributions: Iterator[Tensor], ids: Sequence[int], ends: frozenset[int], k: int
) -> Iterator[ScoredToken]:
    """The tokens of the answer, then the likeliest of those that end it, if there are any."""
    for index, token_id in enumerate(ids):
        yield scored_token(vlm, index, token_id, next(distributions), k)
    if ends:
        last = next(distributions)  # [V]
        yield scored_token(vlm, len(ids), max(sorted(ends), key=lambda token_id: float(last[token_id])), last, k)


def scored_token(vlm: Vlm, index: int, token_id: int, before: Tensor, k: int) -> ScoredToken:
    """One token and the log-probabilities [V] that the model had before it."""
    return ScoredToken(
        index=index,
        id=token_id,
        token=vlm.vocabulary.token(token_id),
        bytes=vlm.vocabulary.bytes(token_id),
        logprob=float(before[token_id]),
        rank=rank(before, token_id),
        entropy=entropy(before),
        top=top_tokens(vlm.vocabulary, before, k) if k else (),
    )
