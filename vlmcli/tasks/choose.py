"""A distribution over closed options, each an answer of any number of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vlmcli.engine.decode import prefill
from vlmcli.engine.forced import distribution, end_logprob, follow, likeliest_way
from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.answer import Ids
from vlmcli.models.prompts import Inputs, State
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Request, image_infos, usage
from vlmcli.tasks.score import check_answer
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.choose import Choice, Choices

PLACE = "{options}"
"""Where in a prompt the options go when they are shown."""


@dataclass(frozen=True)
class Saying:
    """One spelling of option number ``option`` as tokens; ``ends``: only an answer that stops behind them counts."""

    option: int
    ids: Ids
    ends: bool


def choose(vlm: Vlm, request: Request, options: Sequence[str], *, show_options: bool = False) -> Choices:
    """How the model divides its answer among ``options``, two at least.

    An option is said as it is written or with a capital first letter (``red``, ``Red``). Its log-probability is that of
    an answer which begins with its tokens; where these are the beginning of another option's too (``1`` and ``10``), of
    an answer which is these tokens and then ends. So no answer counts for two options. ``mass`` is the sum of their
    probabilities: how much the model gives to the options at all, at most 1. ``probability`` is the softmax of the
    log-probabilities, hence the option's part of that mass; ``normalized`` is the softmax of the log-probabilities
    divided by the number of tokens (of the likeliest spelling), which favours the shorter ones less.

    ``show_options``: the options stand in the prompt, at ``{options}`` or on a line of their own at its end, and the
    probabilities are means over as many orders as there are options: every option stands at every place once.

    ``timings_ms``: ``load``, ``prepare``, ``prefill``, ``score``, ``total``; ``usage`` is that of one order.

    Raises UsageError for fewer than two options, for an empty one and for two that are the same tokens, InputError for
    one that holds an image slot, and what ``ask`` raises.
    """
    _check(options)
    watch = Stopwatch(request.load_ms)
    asked = [_shown(request, order) for order in _rotations(options)] if show_options else [request]
    sayings: tuple[Saying, ...] = ()
    orders: list[tuple[float, ...]] = []
    for one in asked:
        inputs = vlm.prepare(one.prompt)
        watch.lap("prepare")
        state = prefill(vlm, inputs)
        watch.lap("prefill")
        sayings = sayings or _sayings(vlm, inputs, state, options)
        orders.append(tuple(_logprob(vlm, state, saying) for saying in sayings))
        watch.lap("score")
    completion_tokens = sum(len(saying.ids) for saying in sayings)
    choices, mass = _divided(options, sayings, orders)
    infos = image_infos(request.images, inputs)
    return Choices(choices, mass, vlm.info, infos, usage(inputs, completion_tokens), watch.timings_ms())


def _check(options: Sequence[str]) -> None:
    if len(options) < 2:
        raise UsageError("there must be at least two options to choose from")
    if any(not option.strip() for option in options):
        raise UsageError("an option is empty")
    if len(set(options)) < len(options):
        raise UsageError("an option is given twice")


def _rotations(options: Sequence[str]) -> list[Sequence[str]]:
    return [(*options[i:], *options[:i]) for i in range(len(options))]


def _shown(request: Request, order: Sequence[str]) -> Request:
    """The request with the options in its last message."""
    *earlier, asked = request.messages
    listed = f"{', '.join(order[:-1])} or {order[-1]}"
    text = asked.text.replace(PLACE, listed) if PLACE in asked.text else f"{asked.text}\n{listed}"
    return replace(request, messages=(*earlier, replace(asked, text=text)))


def _sayings(vlm: Vlm, inputs: Inputs, state: State, options: Sequence[str]) -> tuple[Saying, ...]:
    """Every spelling of every option, those as written first; one that is taken by another option is left out."""
    first = distribution(state)  # [V]
    capitals = ((i, option[:1].upper() + option[1:]) for i, option in enumerate(options))
    spelled = dict.fromkeys([*enumerate(options), *capitals])
    found: dict[Ids, int] = {}
    for (i, text), ids in zip(
        spelled, likeliest_way(vlm.tokenizer, [text for _, text in spelled], inputs.ids, first), strict=True
    ):
        check_answer(vlm, inputs, ids, len(first))
        if found.setdefault(ids, i) != i and text == options[i]:
            raise UsageError(f"{options[found[ids]]!r} and {text!r} are the same tokens to this model")
    sayings = tuple(Saying(i, ids, _begins_another(ids, found)) for ids, i in found.items())
    if not vlm.eos_ids and any(saying.ends for saying in sayings):
        raise UsageError("an option is the beginning of another, and this model has no token that ends an answer")
    return sayings


def _begins_another(ids: Ids, all_ids: Iterable[Ids]) -> bool:
    return any(len(other) > len(ids) and other[: len(ids)] == ids for other in all_ids)


def _logprob(vlm: Vlm, state: State, saying: Saying) -> float:
    """Of one spelling after the prompt; ``state`` stays as it is."""
    steps = follow(vlm, vlm.fork(state) if len(saying.ids) + saying.ends > 1 else state, saying.ids)
    logprob = math.fsum(float(next(steps)[token_id]) for token_id in saying.ids)
    return logprob + end_logprob(next(steps), vlm.eos_ids) if saying.ends else logprob


def _divided(
    options: Sequence[str], sayings: Sequence[Saying], orders: Sequence[Sequence[float]]
) -> tuple[tuple[Choice, ...], float]:
    """The choices and their mass, from the log-probability of each saying in each order."""
    means = [_log_sum_exp(each) - math.log(len(orders)) for each in zip(*orders, strict=True)]
    logprobs = _by_option(sayings, means)
    if max(logprobs) == -math.inf:
        raise InputError("the model rules every option out")
    rising = sorted(zip(means, sayings, strict=True), key=lambda pair: pair[0])
    tokens = {said.option: len(said.ids) for _, said in rising}  # the last one, of the likeliest spelling, stays
    per_token = [logprob / tokens[i] for i, logprob in enumerate(logprobs)]
    probabilities, normalized = _softmax(logprobs), _softmax(per_token)
    by_order = list(zip(*(_softmax(_by_option(sayings, order)) for order in orders), strict=True))
    choices = tuple(
        Choice(
            option,
            logprobs[i],
            per_token[i],
            probabilities[i],
            normalized[i],
            tokens[i],
            by_order[i] if len(orders) > 1 else (),
        )
        for i, option in enumerate(options)
    )
    return choices, math.fsum(map(math.exp, logprobs))


def _by_option(sayings: Sequence[Saying], logprobs: Sequence[float]) -> list[float]:
    """The log-probability of each option: its spellings added up."""
    own: dict[int, list[float]] = {}
    for saying, logprob in zip(sayings, logprobs, strict=True):
        own.setdefault(saying.option, []).append(logprob)
    return [_log_sum_exp(own[i]) for i in sorted(own)]


def _log_sum_exp(logprobs: Sequence[float]) -> float:
    highest = max(logprobs)
    if highest == -math.inf:
        return highest
    return highest + math.log(math.fsum(math.exp(logprob - highest) for logprob in logprobs))


def _softmax(logprobs: Sequence[float]) -> list[float]:
    whole = _log_sum_exp(logprobs)
    return [math.exp(logprob - whole) if whole > -math.inf else 1 / len(logprobs) for logprob in logprobs]
