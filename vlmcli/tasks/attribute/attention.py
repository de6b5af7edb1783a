"""Attention rollout: where does what the last position knows come from, if attention were all that mixes?

Shapes: A tokens of the answer, T positions of the prompt, n slots, M keys of an image beside the text.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlmcli.errors import UsageError
from vlmcli.models.attention_maps import Layer, recorded, rolled_out
from vlmcli.models.places import Places, memory_places, slots_of
from vlmcli.tasks.attribute.slots import spread
from vlmcli.tasks.attribute.trial import Trial


def attention(trial: Trial) -> Tensor:
    """[A, rows, columns]: the share of each token's knowledge that came from each cell."""
    passes = _passes(trial)
    length = len(trial.inputs.ids)
    rolled = [rolled_out(passes, length - 1 + index) for index in range(len(trial.ids))]
    beside = torch.stack([away for _, away in rolled])  # [A, M]
    if beside.shape[1]:
        keys, boxes = memory_places(trial.vlm, trial.prompt, trial.of, beside.shape[1])
        return spread(trial, Places(tuple(keys.tolist()), boxes), beside[:, keys])
    places = trial.places()
    own = torch.tensor(slots_of(trial.vlm, trial.inputs, trial.of))
    return spread(trial, places, torch.stack([mine[own] for mine, _ in rolled]))


def _passes(trial: Trial) -> list[list[Layer]]:
    """The layers' attention in the prompt's forward pass, and in one more for every token but the last."""
    with recorded(trial.vlm) as seen:
        state = trial.vlm.prefill(trial.inputs)
        ends = [len(seen)]
        for token_id in trial.ids[:-1]:
            trial.vlm.step(state, token_id)
            ends.append(len(seen))
        trial.work.count(1)
    layers = trial.vlm.model.config.get_text_config().num_hidden_layers
    if ends[0] != layers:
        raise UsageError(
            f"{ends[0]} of this model's {layers} layers show their attention: too few, or too many, to follow it",
            hint="use --method occlusion",
        )
    return [seen[start:end] for start, end in zip([0, *ends], ends, strict=False)]
