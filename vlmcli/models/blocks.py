"""The decoder's blocks: what goes in, what comes out, and other values in their place.

Shapes: B prompts, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from vlmcli.errors import ModelError
from vlmcli.models.anatomy import assign, block_list

Catch = Callable[[Tensor], None]
"""Is shown the hidden states [B, T, D] at one place, and must leave them as they are."""


def decoder_blocks(model: Any) -> list[nn.Module]:
    """The transformer blocks that read the text, in their order. Raises ModelError where no weight's name tells."""
    path = block_list((name for name, _ in model.named_parameters()), model.config)
    if path is None:
        raise ModelError(f"the decoder of this {model.config.model_type} model has no list of blocks to look into")
    return list(model.get_submodule(path))


def splices(model: Any) -> bool:
    """Whether image embeddings stand among the text's; False where only cross-attention sees them, beside the text."""
    places = assign((name for name, _ in model.named_parameters()), model.config).values()
    crossing = any(place.role == "fusion" for place in places)
    return not crossing or getattr(model.config, "fusion", None) == "hybrid"


@contextmanager
def entering(block: nn.Module, catch: Catch) -> Iterator[None]:
    """``catch`` sees what goes into the block each time it runs."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        catch(args[0] if args else kwargs["hidden_states"])

    with _while(block.register_forward_pre_hook(hook, with_kwargs=True)):
        yield


@contextmanager
def leaving(block: nn.Module, catch: Catch) -> Iterator[None]:
    """``catch`` sees what comes out of the block each time it runs."""
    with _while(block.register_forward_hook(lambda _module, _args, output: catch(_hidden(output)))):
        yield


@contextmanager
def replaced(block: nn.Module, hidden: Tensor) -> Iterator[None]:
    """While this lasts, ``hidden`` comes out of the block, whatever went in.

    Raises ModelError if the block has not run by the end.
    """
    ran: list[bool] = []

    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        ran.append(True)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    with _while(block.register_forward_hook(hook)):
        yield
    if not ran:
        raise ModelError("this model's last block is skipped where there is no image, so the head cannot be reached")


def one_stream(hidden: Tensor) -> Tensor:
    """Hidden states [B, T, D]. Raises ModelError for blocks that hand on several streams of them (Gemma 3n's AltUp)."""
    if hidden.dim() != 3:
        raise ModelError("the blocks of this model hand on several streams of hidden states, which vlm cannot read")
    return hidden


def _hidden(output: Any) -> Tensor:
    """Some blocks return more than the hidden states."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


@contextmanager
def _while(*handles: Any) -> Iterator[None]:
    try:
        yield
    finally:
        remove(handles)


def remove(handles: Iterable[Any]) -> None:
    """Take hooks away."""
    for handle in handles:
        handle.remove()
