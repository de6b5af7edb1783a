"""Token activation map (Li et al. 2025, arXiv 2506.23270): which slots would say the token themselves?

The logit of the answer's token at each image slot, less what the words before it account for there: their own maps,
weighted by how much each of these words calls for the token, scaled by least squares. Then a filter that damps single
outliers. One forward pass. It reads the image's slots through the output head; a model whose slots do not speak in
words (small ones, above all) gives maps near chance.

Shapes: A tokens of the answer, J words (of the prompt behind the image, then of the answer), n slots.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlmcli.tasks.attribute.trial import Trial

_TINY = 1e-8


def tam(trial: Trial) -> Tensor:
    """[A, rows, columns]: activations, not negative."""
    places = trial.places()
    last = places.positions[-1]
    texts = [i for i, image in enumerate(trial.inputs.is_image) if not image and i > last]
    words = [trial.inputs.ids[i] for i in texts] + list(trial.ids)  # [J]
    at_slots, at_words = _activations(trial, places.positions, texts, words)  # [n, J], [J, J]
    first = len(texts)
    maps = [_without_context(index, words, at_slots, at_words) for index in range(first, len(words))]
    shares = trial.around(places.boxes)  # [n, C]
    covered = shares / shares.sum(0).clamp(min=_TINY)  # a mean: where tiles and a thumbnail meet, not their sum
    grids = (torch.stack(maps) @ covered).reshape(-1, trial.rows, trial.columns)
    return torch.stack([_filtered(grid) for grid in grids])


def _activations(trial: Trial, slots: tuple[int, ...], texts: list[int], words: list[int]) -> tuple[Tensor, Tensor]:
    """The logits of ``words`` at the image's slots [n, J] and at the words themselves [J, J], none below 0."""
    vlm, wanted = trial.vlm, torch.tensor(words, device=trial.vlm.device)
    positions = [*slots, *texts]
    columns = [logits[:, wanted].float().cpu() for logits in vlm.logits_at(trial.inputs, positions)]
    state = vlm.prefill(trial.inputs)
    for token_id in trial.ids[:-1]:
        columns.append(vlm.step(state, token_id)[None, wanted].float().cpu())
    trial.work.count(2)
    whole = torch.cat(columns).clamp(min=0)  # [n + J - 1, J]
    return whole[: len(slots)], whole[len(slots) :]


def _without_context(index: int, words: list[int], at_slots: Tensor, at_words: Tensor) -> Tensor:
    """The map [n] of word number ``index``, less what other words before it explain of it."""
    own = at_slots[:, index]
    earlier = [i for i in range(index) if words[i] != words[index]]
    weights = at_words[earlier, index]
    if not earlier or float(weights.sum()) <= 0:
        return own
    context = at_slots[:, earlier] @ (weights / weights.sum())  # [n]
    scale = (own @ context) / (context @ context).clamp(min=_TINY)
    return (own - scale * context).clamp(min=0)


def _filtered(grid: Tensor) -> Tensor:
    """Each cell becomes a mean of its 3 x 3 neighbourhood, weighted by rank around the median.

    The rank Gaussian filter of the paper: the weights are a Gaussian over the ranks, as wide as the neighbourhood's
    coefficient of variation.
    """
    if min(grid.shape) < 2:
        return grid
    padded = torch.nn.functional.pad(grid[None, None], (1, 1, 1, 1), mode="reflect")[0, 0]
    around = padded.unfold(0, 3, 1).unfold(1, 3, 1).flatten(2).sort(-1).values  # [rows, columns, 9]
    mean = around.mean(-1, keepdim=True)
    spread = around.std(-1, keepdim=True, correction=0) / mean.clamp(min=_TINY)
    weights = (-torch.arange(-4, 5).square() / (2 * spread.square() + _TINY)).softmax(-1)
    return (around * weights).sum(-1) * (mean[..., 0] > 0)
