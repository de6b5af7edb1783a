"""Did the answer need the image at all? Its tokens, against an image that says less.

The contrast of Visual Contrastive Decoding (Leng et al. 2023, arXiv 2311.16922), with a blank and a shuffled image
beside the noised one. Shapes: A tokens of the answer.
"""

from __future__ import annotations

from torch import Tensor

from vlmcli.inputs.spoiled import blank, noised, shuffled
from vlmcli.tasks.attribute.trial import Trial
from vlmcli.types.attribute import Reliance

PASSES = 3
_SEED = 0


def reliance(trial: Trial, logprobs: Tensor) -> tuple[Reliance, ...]:
    """What the image adds to each token; ``logprobs`` [A] are those with it."""
    image = trial.image
    spoiled = trial.on([lambda: blank(image), lambda: noised(image, _SEED), lambda: shuffled(image, _SEED)])  # [3, A]
    return tuple(Reliance(*token) for token in (logprobs - spoiled).T.tolist())
