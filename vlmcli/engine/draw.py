"""The drawing loop: read the prompt, then pick one token of each image at a time.

Shapes: n images side by side, R rows of the batch (n with the prompt, n without it where guided), V words.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from vlmcli.engine.sampling import Sampler, logprobs
from vlmcli.models.drawing import Canvas, Drawer
from vlmcli.types.chat import Sampling


def draw(
    drawer: Drawer, canvas: Canvas, samplings: Sequence[Sampling], guidance: float
) -> Generator[list[tuple[int, float]], None, None]:
    """For each position, the id and the log-probability of the token that was picked in each of the n images.

    Each image has a sampling of its own, and is the same whatever is drawn beside it. Works in the caller's thread, and
    computes nothing beyond the tokens that were asked for last.

    Raises NumericalError for NaN or infinite logits, OutOfMemory, InputError.
    """
    samplers = [Sampler(sampling, drawer.device) for sampling in samplings]
    sketch = drawer.begin(canvas, len(samplers))
    for index in range(canvas.tokens):
        with torch.inference_mode():
            scores = constrained(guided(sketch.logits, guidance), drawer.allowed(canvas, index))  # [n, V]
            distribution = logprobs(scores)  # [n, V]
            picked = [sampler((), row) for sampler, row in zip(samplers, scores, strict=True)]
        yield [(token, float(row[token])) for token, row in zip(picked, distribution, strict=True)]
        if index + 1 < canvas.tokens:
            drawer.extend(sketch, picked)


def guided(logits: Tensor, scale: float) -> Tensor:
    """Logits [R, V] -> [n, V]: away from what is likely without the prompt, towards what is likely with it.

    Classifier-free guidance (arXiv:2207.12598); a shift of all logits alike changes nothing, so raw ones will do.
    """
    if scale == 1:
        return logits.float()
    wanted, unwanted = logits.float().chunk(2)  # [n, V] each
    return unwanted + scale * (wanted - unwanted)


def constrained(scores: Tensor, allowed: Tensor | None) -> Tensor:
    """Scores [n, V] with minus infinity for every id that is not allowed."""
    if allowed is None:
        return scores
    kept = torch.full_like(scores, -torch.inf)
    kept[:, allowed] = scores[:, allowed]
    return kept
