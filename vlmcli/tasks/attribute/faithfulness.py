"""Deletion and insertion: does the map's order take the answer away, and bring it back, faster than chance?

RISE (Petsiuk et al. 2018, arXiv 1806.07421), with the image's mean colour where a cell is missing. Shapes: A tokens of
the answer, C cells.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from vlmcli.inputs.spoiled import cells, without
from vlmcli.tasks.attribute.trial import Trial
from vlmcli.types.attribute import Faithfulness

STEPS = 8
ORDERS = 3
_SEED = 0


def passes(trial: Trial) -> int:
    """How many forward passes it takes."""
    return 1 + (len(_stops(trial.size)) - 2) * 2 * (1 + ORDERS)


def faithfulness(trial: Trial, grid: Tensor, logprobs: Tensor, chosen: slice) -> Faithfulness:
    """Of a map [rows, columns] of the ``chosen`` tokens; ``logprobs`` [A] are those with the whole picture."""
    orders = [grid.flatten().argsort(descending=True, stable=True).tolist()]
    for seed in range(ORDERS):
        shuffled = list(range(trial.size))
        random.Random(_SEED + seed).shuffle(shuffled)
        orders.append(shuffled)
    stops, boxes = _stops(trial.size), cells(trial.rows, trial.columns)
    gone = [[order[:stop] for stop in stops[1:-1]] for order in orders]
    left = [[order[stop:] for stop in stops[1:-1]] for order in orders]
    missing = [range(trial.size), *(some for order in (*gone, *left) for some in order)]
    pictures = [partial(without, trial.image, [boxes[i] for i in some]) for some in missing]
    empty, *between = trial.on(pictures)[:, chosen].mean(-1).exp().tolist()
    whole, inner = float(logprobs[chosen].mean().exp()), len(stops) - 2
    curves = [between[i * inner : (i + 1) * inner] for i in range(2 * len(orders))]
    deletions = [_area([whole, *curve, empty]) for curve in curves[: len(orders)]]
    insertions = [_area([empty, *curve, whole]) for curve in curves[len(orders) :]]
    return Faithfulness(
        deletion=deletions[0],
        insertion=insertions[0],
        random_deletion=sum(deletions[1:]) / ORDERS,
        random_insertion=sum(insertions[1:]) / ORDERS,
        steps=len(stops) - 1,
        orders=ORDERS,
    )


def _stops(count: int) -> list[int]:
    """How many cells are gone after each step, from none to all: ``STEPS`` equal ones, or one a cell."""
    return sorted({round(count * step / STEPS) for step in range(STEPS + 1)})


def _area(curve: Sequence[float]) -> float:
    """Under a curve over equal steps from 0 to 1, by trapezoids."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)
