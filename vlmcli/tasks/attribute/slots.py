"""Methods that work on the projected embeddings of the image: ablation, gradient x input, integrated gradients.

Shapes: A tokens of the answer, C cells, n slots of the image, D width, B variants side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmcli.engine.forced import answer_logprobs
from vlmcli.models.changed import Repeated, with_features
from vlmcli.models.embeddings import Levels, differentiable, replaced
from vlmcli.models.places import Places, overlap
from vlmcli.tasks.attribute.trial import Trial

INTEGRATED_STEPS = 16


def ablation(trial: Trial, logprobs: Tensor) -> Tensor:
    """What the answer loses when a block of embeddings becomes their mean: [A, rows, columns] in nats.

    Neo et al. 2024, arXiv 2410.07149. A slot that lies in a block by a part is replaced by that part.
    """
    places = trial.places()
    shares = overlap(places.boxes, torch.tensor(trial.windows)).T  # [C, n]
    lab = with_features(trial.vlm, Repeated())
    lab.encode(trial.inputs)

    def run(some: Sequence[Tensor]) -> Tensor:
        share = torch.stack(list(some))[..., None].to(trial.vlm.device, trial.vlm.model.dtype)  # [B, n, 1]

        def flatten(levels: Levels) -> Levels:
            return [level.lerp(level.mean(1, keepdim=True), share) for level in levels]

        batch = lab.prepare_batch([trial.prompt] * len(some))
        with replaced(lab, trial.inputs, places.positions, flatten):
            return answer_logprobs(lab, batch, trial.ids).float().cpu()

    without = trial.work.each(list(shares), run)  # [C, A]
    return trial.averaged(logprobs - without)


def gradient(trial: Trial) -> Tensor:
    """Gradient x input: [A, rows, columns] in nats, to first order.

    Shrikumar et al. 2016, arXiv 1605.01713. One forward pass, and a backward pass for each token.
    """
    places = trial.places()
    return spread(trial, places, _slopes(trial, places, [1.0], subtract_mean=False))


def integrated(trial: Trial) -> Tensor:
    """Integrated gradients from the mean embedding to the image's own: [A, rows, columns] in nats.

    Sundararajan et al. 2017, arXiv 1703.01365. The sum over the slots (a grid of one cell) is what the answer gains
    over an image whose slots are all the mean, as far as 16 steps can tell.
    """
    places = trial.places()
    steps = [(i + 0.5) / INTEGRATED_STEPS for i in range(INTEGRATED_STEPS)]
    return spread(trial, places, _slopes(trial, places, steps, subtract_mean=True))


def spread(trial: Trial, places: Places, values: Tensor) -> Tensor:
    """Values of slots [A, n] -> cells [A, rows, columns], each the sum of what lies around it."""
    return (values @ trial.around(places.boxes)).reshape(-1, trial.rows, trial.columns)


def _slopes(trial: Trial, places: Places, steps: Sequence[float], subtract_mean: bool) -> Tensor:
    """The mean over ``steps`` from the start to the image of gradient x (image - start), summed over D: [A, n]."""
    lab = with_features(trial.vlm, Repeated())
    lab.encode(trial.inputs)

    def run(some: Sequence[float]) -> Tensor:
        alpha = torch.tensor(some, device=trial.vlm.device)[:, None, None]  # [B, 1, 1]
        leaves: Levels = []
        ways: Levels = []

        def expose(levels: Levels) -> Levels:
            for level in levels:
                image = level.detach()
                start = image.mean(1, keepdim=True) if subtract_mean else torch.zeros_like(image[:, :1])
                ways.append(image - start)
                leaves.append((start + alpha * (image - start)).requires_grad_())
            return leaves

        batch = lab.prepare_batch([trial.prompt] * len(some))
        with differentiable(lab), replaced(lab, trial.inputs, places.positions, expose):
            said = answer_logprobs(lab, batch, trial.ids).sum(0)  # [A]
            by_token = []
            for index, one in enumerate(said):
                slopes = torch.autograd.grad(one, leaves, retain_graph=index + 1 < len(said))
                by_level = [(s * w).sum((0, 2)) for s, w in zip(slopes, ways, strict=True)]  # [n] each
                by_token.append(torch.stack(by_level).sum(0))
        return torch.stack(by_token).detach().cpu()[None]  # [1, A, n]

    return trial.work.each(list(steps), run).sum(0) / len(steps)
