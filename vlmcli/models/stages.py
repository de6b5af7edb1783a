"""The stages of the diagram as a model runs through them: watched by hooks, changed by nothing.

Which modules are the encoder's, the projector's and the decoder's is read from the names of their weights
(``models.anatomy``). Time and memory go to the stage that is running; looking at a tensor stops the clock.

Shapes: B prompts, T positions, D width, P patches, V vocabulary.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vlmcli.models.anatomy import assign
from vlmcli.models.blocks import remove
from vlmcli.models.memory import PeakMemory
from vlmcli.models.vlm import Vlm
from vlmcli.types.inspect import PartRole
from vlmcli.types.trace import Figures

_PATCHES = re.compile(r"patch_?(embed|conv|proj)\w*")


@dataclass
class Watched:
    """What is known of one stage while it runs and afterwards; ``tensors`` on the CPU where they are kept."""

    figures: Figures | None = None
    ms: float = 0.0
    peak_bytes: int | None = None
    tensors: list[Tensor] = field(default_factory=list)


class Watch:
    """A clock and a memory meter that one stage at a time owns.

    Args:
        keep: hold copies of the tensors.
    """

    def __init__(self, device: torch.device, keep: bool = False) -> None:
        self.stages: dict[str, Watched] = {}
        self._device, self._keep = device, keep
        self._memory = PeakMemory(device)
        self._base = self._memory.held_bytes
        self._owner: str | None = None
        self._since = 0.0

    def enter(self, name: str) -> None:
        """From here on, time and memory are this stage's."""
        self.pause()
        self._owner = name
        self.stages.setdefault(name, Watched())
        self._resume()

    def pause(self) -> None:
        """What comes now is no stage's."""
        if self._owner is None:
            return
        self._synchronize()
        stage = self.stages[self._owner]
        stage.ms += 1000 * (time.perf_counter() - self._since)
        peak = self._memory.peak_bytes
        if peak is not None and self._base is not None:
            stage.peak_bytes = max(stage.peak_bytes or 0, peak - self._base, 0)
        self._owner = None

    def see(self, name: str, *tensors: Tensor) -> None:
        """These are what the stage ``name`` made, in the place of what it made before; its clock stands still."""
        owner = self._owner
        self.pause()
        stage = self.stages.setdefault(name, Watched())
        with torch.inference_mode():
            stage.figures = figures(tensors)
            if self._keep:
                stage.tensors = [tensor.detach().cpu().clone() for tensor in tensors]
        if owner is not None:
            self.enter(owner)

    def _resume(self) -> None:
        self._memory.reset()
        self._synchronize()
        self._since = time.perf_counter()

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def figures(tensors: tuple[Tensor, ...]) -> Figures | None:
    """Shapes and statistics of tensors; None where there are none."""
    if not tensors:
        return None
    lows, highs, total, count, nans = [], [], 0.0, 0, 0
    for tensor in tensors:
        numbers = tensor.detach().flatten()
        numbers = numbers.float() if numbers.is_floating_point() else numbers.double()
        missing = numbers.isnan()
        nans += int(missing.sum())
        numbers = numbers[~missing]
        if numbers.numel():
            lows.append(float(numbers.min()))
            highs.append(float(numbers.max()))
            total += float(numbers.sum(dtype=torch.float64))
            count += numbers.numel()
    return Figures(
        shapes=tuple(tuple(tensor.shape) for tensor in tensors),
        dtype=str(tensors[0].dtype).removeprefix("torch."),
        low=min(lows) if lows else None,
        mean=total / count if count else None,
        high=max(highs) if highs else None,
        nans=nans,
    )


def roles(vlm: Vlm) -> frozenset[PartRole]:
    """The parts that this model has."""
    return frozenset(place.role for place in assign(_names(vlm.model), vlm.model.config).values())


@contextmanager
def watched(vlm: Vlm, watch: Watch) -> Iterator[None]:
    """While this lasts, encoder, projector and the decoder's first block report to ``watch``.

    ``patchify`` is the output of the encoder's patch embedding. ``encode`` is the encoder's output, or, where the
    projector is a part of the encoder's module (Qwen-VL's merger), what goes into that. ``project`` is the projector's
    output, and ``fuse`` the sequence [B, T, D] that enters the decoder's first block.
    """
    handles: list[Any] = []
    encoders, projectors = _modules(vlm, "encoder"), _modules(vlm, "projector")
    hooks = _Hooks(watch, behind_encoder="project" if projectors else "fuse")
    for path, encoder in encoders.items():
        handles += [
            encoder.register_forward_pre_hook(hooks.encoder_begins),
            encoder.register_forward_hook(hooks.encoder_ends),
        ]
        patches = next((m for name, m in encoder.named_modules() if _PATCHES.fullmatch(name.rpartition(".")[2])), None)
        if patches is not None:
            handles.append(patches.register_forward_hook(hooks.patches_end))
        for inner, projector in projectors.items():
            if inner.startswith(f"{path}."):
                handles.append(projector.register_forward_pre_hook(hooks.inner_begins, with_kwargs=True))
                handles.append(projector.register_forward_hook(hooks.inner_ends))
    for path, projector in projectors.items():
        if not any(path.startswith(f"{outer}.") for outer in encoders):
            handles.append(projector.register_forward_pre_hook(hooks.projector_begins))
            handles.append(projector.register_forward_hook(hooks.projector_ends))
    handles.append(vlm.blocks[0].register_forward_pre_hook(hooks.decoder_begins, with_kwargs=True))
    try:
        yield
    finally:
        remove(handles)


class _Hooks:
    """What happens at the borders between stages."""

    def __init__(self, watch: Watch, behind_encoder: str) -> None:
        self._watch, self._behind_encoder = watch, behind_encoder
        self._inner = False  # a projector inside the encoder has run: what went into it is what was encoded
        self._fused = False

    def encoder_begins(self, *_: Any) -> None:
        self._inner = False
        self._watch.enter("patchify")

    def patches_end(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self._watch.see("patchify", *_tensors(output))
        self._watch.enter("encode")

    def inner_begins(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._inner = True
        self._watch.see("encode", *_tensors((*args, *kwargs.values()))[:1])
        self._watch.enter("project")

    def inner_ends(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self._watch.see("project", *_tensors(output)[:1])
        self._watch.enter("encode")

    def encoder_ends(self, _module: nn.Module, _args: Any, output: Any) -> None:
        if not self._inner:
            self._watch.see("encode", *_tensors(output)[:1])
        self._watch.enter(self._behind_encoder)

    def projector_begins(self, *_: Any) -> None:
        self._watch.enter("project")

    def projector_ends(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self._watch.see("project", *_tensors(output)[:1])

    def decoder_begins(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._fused:
            return
        self._fused = True
        self._watch.see("fuse", args[0] if args else kwargs["hidden_states"])  # [B, T, D]
        self._watch.enter("prefill")


def _tensors(output: Any) -> tuple[Tensor, ...]:
    """The tensors in what a module takes or returns, the main one first."""
    main = getattr(output, "last_hidden_state", output)
    if isinstance(main, Tensor):
        return (main,)
    found = main if isinstance(main, (list, tuple)) else ()
    return tuple(part for part in found if isinstance(part, Tensor))


def _names(model: Any) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def _modules(vlm: Vlm, role: PartRole) -> dict[str, nn.Module]:
    """The modules of a part by their paths; a lone parameter, such as a line break's features, is none."""
    places = assign(_names(vlm.model), vlm.model.config).values()
    modules = dict(vlm.model.named_modules())
    return {place.module: modules[place.module] for place in places if place.role == role and place.module in modules}
