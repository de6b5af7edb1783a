"""The projected embeddings of an image, on their way into the decoder: replaced there, and differentiated.

Shapes: B prompts, T positions, D width, n slots of the image in question, S slots of all images of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vlmcli.errors import UsageError
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm

Levels = list[Tensor]
"""An image as the decoder gets it: [B, n, D] at its slots, and in some families [B, n, D] more for deeper layers."""


@contextmanager
def replaced(vlm: Vlm, inputs: Inputs, positions: Sequence[int], change: Callable[[Levels], Levels]) -> Iterator[None]:
    """While this lasts, a prompt's image at ``positions`` is what ``change`` makes of it.

    All prompts that are read meanwhile must be this one, alone or side by side. Raises UsageError afterwards where the
    family's decoder is not given its embeddings.
    """
    slots = [index for index, image in enumerate(inputs.is_image) if image]
    first, length, reached = slots.index(positions[0]), len(inputs.ids), False
    own = slice(first, first + len(positions))
    where = torch.tensor(positions, device=vlm.device)  # [n]

    def exchange(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        nonlocal reached
        sequence = kwargs.get("inputs_embeds")
        if sequence is None or sequence.shape[1] != length:  # a step: the image was read before
            return args, kwargs
        reached = True
        deeper = kwargs.get("deepstack_visual_embeds") or []  # [B * S, D] each
        shaped = [part.view(len(sequence), len(slots), -1) for part in deeper]  # [B, S, D]
        new, *deeper = change([sequence[:, where], *(part[:, own] for part in shaped)])
        changed = {"inputs_embeds": sequence.index_copy(1, where, new)}
        if shaped:
            parts = zip(shaped, deeper, strict=True)
            whole = [torch.cat([old[:, : own.start], part, old[:, own.stop :]], dim=1) for old, part in parts]
            changed["deepstack_visual_embeds"] = [part.flatten(0, 1) for part in whole]
        return args, {**kwargs, **changed}

    handle = text_decoder(vlm).register_forward_pre_hook(exchange, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
    if not reached:
        raise UsageError("this model's image embeddings are out of reach", hint="use --method occlusion")


@contextmanager
def differentiable(vlm: Vlm) -> Iterator[None]:
    """While this lasts, gradients flow through what the model computes; its weights are constants.

    Raises UsageError for a model whose numbers are too coarse for it.
    """
    if vlm.model.dtype != torch.float32:
        name = str(vlm.model.dtype).removeprefix("torch.")
        raise UsageError(f"gradients in {name} are too coarse to be shown", hint="load the model with --dtype float32")
    weights = [weight for weight in vlm.model.parameters() if weight.requires_grad]
    mode, vlm.mode = vlm.mode, torch.enable_grad
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        vlm.mode = mode
        for weight in weights:
            weight.requires_grad_(True)


def text_decoder(vlm: Vlm) -> Any:
    """The layers of the decoder, without its head: what the sequence of embeddings goes into."""
    model = getattr(vlm.model, "decoder", vlm.model) if hasattr(vlm.model, "fusion") else vlm.model
    return model.get_decoder()
