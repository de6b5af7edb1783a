"""Occlusion: what does the answer lose when a window of the picture is painted over?

Zeiler and Fergus 2014, arXiv 1311.2901. It asks the whole model about real pictures, so it works with every family and
says what it says; it costs a forward pass for each cell.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from vlmcli.inputs.spoiled import covered
from vlmcli.tasks.attribute.trial import Trial


def occlusion(trial: Trial, logprobs: Tensor) -> Tensor:
    """[A, rows, columns] in nats; ``logprobs`` [A] are those with the whole picture."""
    without = trial.on([partial(covered, trial.image, box) for box in trial.windows])  # [C, A]
    return trial.averaged(logprobs - without)
