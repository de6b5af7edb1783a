"""Attention knockout: a position is kept from looking at others, in some blocks of the decoder.

The way of Geva et al. 2023 (arXiv 2304.14767), who cut edges of a language model's attention, taken to images by Neo et
al. 2024 (arXiv 2410.07149). The model's own forward runs; what changes is the attention mask that a block is given. No
family is named: whether a block's mask holds is tried before any figure is believed (``check_masks``).

Shapes: B prompts, Q positions that read, K positions that are read, T positions of the prompt, D width.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlmcli.errors import ModelError
from vlmcli.models.blocks import one_stream, remove
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm

_MASK = "attention_mask"


@contextmanager
def knocked_out(vlm: Vlm, blocks: Sequence[int], positions: Sequence[int]) -> Iterator[None]:
    """While this lasts, the last position that reads does not look at ``positions`` in ``blocks``, counted from 0.

    That is the prompt's last position while the prompt is read, and then each new token of the answer.
    """
    handles = []
    try:
        for number in blocks:
            block = vlm.blocks[number]
            hook = _masking(block, number, positions)
            handles.append(block.register_forward_pre_hook(hook, with_kwargs=True))
        yield
    finally:
        remove(handles)


def check_masks(vlm: Vlm, inputs: Inputs) -> None:
    """Raises ModelError unless a mask can cut the last position off in every block.

    Each block runs three times on what really enters it: as it is, with all earlier positions masked, and so again
    with their hidden states exchanged. The mask must change what comes out at the last position, and then the
    exchange must change nothing there. A recurrence, a convolution or attention that reads no mask fails this.
    """
    failed: list[int] = []
    busy = False

    def trying(number: int) -> Callable[..., None]:
        def hook(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            nonlocal busy
            if busy or _entering(args, kwargs).shape[1] < 2:
                return
            busy = True
            try:
                if not _holds(block, number, args, kwargs, _last(output)):
                    failed.append(number)
            finally:
                busy = False

        return hook

    with ExitStack() as hooks:
        for number, block in enumerate(vlm.blocks):
            handle = block.register_forward_hook(trying(number), with_kwargs=True)
            hooks.callback(handle.remove)
        vlm.hidden(inputs)
    if failed:
        named = ", ".join(str(number + 1) for number in failed[:5]) + (", ..." if len(failed) > 5 else "")
        raise ModelError(
            f"no mask cuts the attention of this model in block{'s' * (len(failed) > 1)} {named} of {len(vlm.blocks)}",
            hint="recurrent and convolutional layers pass the image on without attention",
        )


def _holds(block: nn.Module, number: int, args: tuple[Any, ...], kwargs: dict[str, Any], before: Tensor) -> bool:
    """Whether a mask over all earlier positions is read at all, and leaves no other way to them."""
    hidden = _entering(args, kwargs)  # [1, T, D]
    others = torch.cat([hidden[:, :-1].roll(1, dims=1).flip(-1), hidden[:, -1:]], dim=1)  # [1, T, D]
    try:
        cut_args, cut_kwargs = _masking(block, number, range(hidden.shape[1] - 1))(block, args, kwargs)
        cut = _last(block.forward(*cut_args, **cut_kwargs))  # [1, D]
        if cut_args:
            exchanged = _last(block.forward(others, *cut_args[1:], **cut_kwargs))  # [1, D]
        else:
            exchanged = _last(block.forward(**{**cut_kwargs, "hidden_states": others}))  # [1, D]
    except torch.OutOfMemoryError:
        raise
    except (ModelError, RuntimeError, ValueError, IndexError):
        return False  # a recurrence that multiplies with its mask meets one of another shape
    rounding = 100 * torch.finfo(hidden.dtype).eps * float(before.abs().max())
    return not torch.equal(cut, before) and float((cut - exchanged).abs().max()) <= rounding


def _masking(
    block: nn.Module, number: int, positions: Sequence[int]
) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    """A hook that takes ``positions`` out of what the last position may look at in block ``number``."""
    cut = torch.tensor(sorted(positions), dtype=torch.long)

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = _bound(block, args, kwargs)
        if _MASK not in given.arguments:
            raise ModelError(f"{type(block).__name__} takes no attention mask, so nothing can be cut")
        queries = _entering(args, kwargs).shape[1]
        cache = given.arguments.get("past_key_values")
        # A sliding cache holds the last K positions alone, those from ``first`` on.
        length, first = (queries, 0) if cache is None else cache.get_mask_sizes(queries, number)
        mask = _explicit(given.arguments[_MASK], block, queries, length).clone()  # [B, 1, Q, K]
        columns = cut[cut >= first] - first
        mask[..., -1, columns] = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
        given.arguments[_MASK] = mask.to(_entering(args, kwargs).device)
        return given.args, given.kwargs

    return hook


def _explicit(mask: Any, block: nn.Module, queries: int, length: int) -> Tensor:
    """A mask [B, 1, Q, K] as attention reads it: true, or 0, for what may be looked at. Raises ModelError."""
    if mask is None:
        allowed = torch.ones(queries, length, dtype=torch.bool)  # [Q, K]
        causal = all(getattr(module, "is_causal", True) for module in block.modules())
        return (allowed.tril(length - queries) if causal else allowed)[None, None]
    if not isinstance(mask, Tensor) or mask.dim() != 4:
        raise ModelError(f"{type(block).__name__} takes a mask of a form that vlm does not know, so nothing can be cut")
    return mask


def _bound(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """A block's arguments by name, however they were given; what it does not name stays among its keywords."""
    given = inspect.signature(block.forward).bind(*args, **kwargs)
    if _MASK not in given.arguments and _MASK in given.signature.parameters:
        given.arguments[_MASK] = None
    return given


def _entering(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The hidden states [B, Q, D] that a block reads. Raises ModelError for several streams of them."""
    return one_stream(args[0] if args else kwargs["hidden_states"])


def _last(output: Any) -> Tensor:
    """What comes out of a block at the last position [B, D]."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden[:, -1]
