"""Compare: what two models, dtypes, images or prompts make of the same text, position by position.

The first side is recorded on disk, so that its model can go before the second one's comes.
Shapes: C rows of a chunk, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmcli.engine.decode import decode, prefill
from vlmcli.engine.forced import distribution, follow, likeliest_way
from vlmcli.engine.rows import Rows
from vlmcli.engine.sampling import logprobs
from vlmcli.errors import InputError
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Request, image_infos, usage
from vlmcli.tasks.score import check_answer
from vlmcli.types.chat import Sampling
from vlmcli.types.compare import Compared, ComparedPosition, Divergence, Side


@dataclass(frozen=True)
class Recording:
    """What the first side said. ``rows`` are those of the prompt, if they were wanted, and then the answer's.

    ``vocabulary`` tells its tokenizer from another: words and their ids.
    """

    side: Side
    ids: tuple[int, ...]
    is_image: tuple[bool, ...]
    answer_ids: tuple[int, ...]
    text: str
    greedy: tuple[tuple[int, str], ...]
    vocabulary: Mapping[str, int]
    rows: Rows
    with_prompt: bool


def record(
    vlm: Vlm, request: Request, rows: Rows, answer: str = "", *, with_prompt: bool = True, max_tokens: int = 64
) -> Recording:
    """The first side reads ``answer`` and writes its distributions to ``rows``; those of the prompt first, if wanted.

    An empty answer is its own greedy one, which has at most ``max_tokens``.
    Raises what ``score`` raises, and VlmError for a full disk.
    """
    inputs = vlm.encode(vlm.prepare(request.prompt))
    greedy = _greedy(vlm, inputs, max_tokens)
    said = "".join(text for _, text in greedy)
    if not answer and not said.strip():
        raise InputError("the greedy answer is empty, so there is nothing to compare", hint="give a text with --answer")
    state = prefill(vlm, inputs)
    first = distribution(state)
    if answer:
        ids = likeliest_way(vlm.tokenizer, [answer], inputs.ids, first)[0]
    else:
        ids = tuple(token_id for token_id, _ in greedy if token_id not in vlm.eos_ids)
    check_answer(vlm, inputs, ids, len(first))
    if with_prompt:
        for row in _prompt_rows(vlm, inputs):
            rows.add(row[None])
    each = []
    for token_id, row in itertools.zip_longest(ids, follow(vlm, state, ids)):
        rows.add(row[None])
        each += [] if token_id is None else [float(row[token_id])]
    side = _side(vlm, request, inputs, said, math.fsum(each), len(ids))
    return Recording(
        side,
        inputs.ids,
        vlm.shown(inputs),
        ids,
        answer or vlm.vocabulary.decode(list(ids)),
        greedy,
        dict(vlm.tokenizer.get_vocab()),
        rows,
        with_prompt,
    )


def compare(first: Recording, vlm: Vlm, request: Request, *, max_tokens: int = 64) -> Compared:
    """The second side reads the first one's text, and its distributions are held against those that were recorded.

    With one tokenizer for both: the Kullback-Leibler divergence at every position that both have, and where the greedy
    answers part. With two: only how likely each finds the text. Raises what ``record`` raises.
    """
    inputs = vlm.encode(vlm.prepare(request.prompt))
    greedy = _greedy(vlm, inputs, max_tokens)
    state = prefill(vlm, inputs)
    before = distribution(state)  # [V]
    same = dict(vlm.tokenizer.get_vocab()) == first.vocabulary
    ids = first.answer_ids if same else likeliest_way(vlm.tokenizer, [first.text], inputs.ids, before)[0]
    check_answer(vlm, inputs, ids, len(before))
    with_prompt = same and first.with_prompt and inputs.ids == first.ids
    prompt_rows = _prompt_rows(vlm, inputs) if with_prompt else iter(())
    answer_rows: list[float] = []

    def told() -> Iterator[Tensor]:
        """The answer's distributions, and on the way how likely its tokens were."""
        for token_id, row in itertools.zip_longest(ids, follow(vlm, state, ids)):
            if token_id is not None:
                answer_rows.append(float(row[token_id]))
            yield row

    positions: tuple[ComparedPosition, ...] = ()
    if same:
        skipped = len(first.ids) - 1 if first.with_prompt and not with_prompt else 0
        recorded = itertools.islice(first.rows.read(), skipped, None)
        positions = tuple(_positions(vlm, first, recorded, prompt_rows, told(), with_prompt))
    else:
        for _ in told():
            pass
    side = _side(vlm, request, inputs, "".join(text for _, text in greedy), math.fsum(answer_rows), len(ids))
    return Compared(
        first.text,
        (first.side, side),
        same,
        positions,
        _divergence(first.greedy, greedy) if same else None,
        _notes(first, same, with_prompt),
    )


def _greedy(vlm: Vlm, inputs: Inputs, max_tokens: int) -> tuple[tuple[int, str], ...]:
    """The ids and the texts of the tokens of the greedy answer."""
    return tuple((event.id, event.text) for event in decode(vlm, inputs, Sampling(max_tokens=max_tokens)))


def _side(vlm: Vlm, request: Request, inputs: Inputs, greedy: str, logprob: float, tokens: int) -> Side:
    infos, prompt = image_infos(request.images, inputs), request.messages[-1].text
    return Side(vlm.info, infos, usage(inputs, tokens), prompt, greedy, logprob, tokens)


def _prompt_rows(vlm: Vlm, inputs: Inputs) -> Iterator[Tensor]:
    """The log-probabilities [V] at each position of the prompt but the last, which is the answer's first."""
    for logits in vlm.logits_at(inputs, range(len(inputs.ids) - 1)):  # [C, V]
        with torch.inference_mode():
            yield from logprobs(logits)


def _positions(
    vlm: Vlm,
    first: Recording,
    recorded: Iterator[Tensor],
    prompt_rows: Iterator[Tensor],
    answer_rows: Iterator[Tensor],
    with_prompt: bool,
) -> Iterator[ComparedPosition]:
    """Both sides at every position that they have in common."""
    ids = (*first.ids, *first.answer_ids)
    is_image = (*first.is_image, *(False for _ in first.answer_ids))
    last = len(first.ids) - 1
    for index, one, other in zip(
        itertools.count(0 if with_prompt else last), recorded, itertools.chain(prompt_rows, answer_rows), strict=False
    ):
        one, other = _in_common(one, other.cpu())
        following = ids[index + 1] if index + 1 < len(ids) else None
        tops = int(one.argmax()), int(other.argmax())
        known = following is not None and following < len(one)
        yield ComparedPosition(
            index=index,
            part="prompt" if index < last else "answer",
            kind="image" if is_image[index] else "text",
            token=vlm.vocabulary.token(ids[index]),
            next_token=None if following is None else vlm.vocabulary.token(following),
            kl=divergence_of(one, other),
            likeliest=tops,
            words=(vlm.vocabulary.token(tops[0]), vlm.vocabulary.token(tops[1])),
            logprobs=(float(one[following]), float(other[following])) if known and following is not None else None,
        )


def _in_common(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both over the ids that both heads have: the rows beyond the tokenizer's are padding."""
    width = min(len(one), len(other))
    if len(one) == len(other):
        return one, other
    return one[:width].log_softmax(0), other[:width].log_softmax(0)


def divergence_of(one: Tensor, other: Tensor) -> float:
    """KL(one || other) of log-probabilities [V], in nats; what ``one`` rules out adds nothing."""
    possible = one > -torch.inf
    one, other = one[possible].double(), other[possible].double()
    return max(float((one.exp() * (one - other)).sum()), 0.0)


def _divergence(one: Sequence[tuple[int, str]], other: Sequence[tuple[int, str]]) -> Divergence | None:
    for index, pair in enumerate(itertools.zip_longest(one, other)):
        if pair[0] is None or pair[1] is None or pair[0][0] != pair[1][0]:
            return Divergence(index, (pair[0] and pair[0][1], pair[1] and pair[1][1]))
    return None


def _notes(first: Recording, same: bool, with_prompt: bool) -> tuple[str, ...]:
    if not same:
        return ("the tokenizers differ: only the likelihood of the text can be compared, by its bytes",)
    if first.with_prompt and not with_prompt:
        return ("the prompts are not the same tokens: only the answer's positions are compared",)
    return ()
