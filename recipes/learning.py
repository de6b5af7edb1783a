"""How every recipe learns: a plan, a stage with a loss, and a loop that saves its state and goes on from it."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

SAVE_EVERY_S = 100
LOG_EVERY = 50
# Left to AdamW, picturebook's projector grows until the decoder's layers hardly move its tokens, and places are lost.
_MATRICES = re.compile(r"\.layers\.(?!.*rel_pos)|projector")


@dataclass(frozen=True)
class Plan:
    """How long and how fast one stage learns."""

    steps: int
    batch: int
    rate: float
    warmup: int = 100
    decay: float = 1 / 3  # the last share of the steps, in which the rate falls to nothing

    def scaled(self, scale: float) -> Plan:
        """The same with so many times the steps, and one at least."""
        return replace(self, steps=max(1, math.ceil(self.steps * scale)))


def training_parser(module: str, about: str | None, out: Path, workers: int = 0) -> argparse.ArgumentParser:
    """The options that every ``python -m <module>`` that trains has; ``about`` is its docstring."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=(about or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=out, help="folder for states and checkpoints")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=workers, help="processes that draw the pictures")
    parser.add_argument("--scale", type=float, default=1.0, help="times the steps of every stage")
    return parser


class Stage(nn.Module):
    """A model with its training loss; ``losses`` gives the loss and figures for the log.

    ``with_muon``: its matrices learn by Muon, in half the steps; each of them takes longer on a CPU without bfloat16.
    """

    with_muon = True

    def losses(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        raise NotImplementedError

    def trainable(self, name: str) -> list[nn.Parameter]:
        """What learns in the stage of that name."""
        return list(self.parameters())


def optimizers(stage: Stage, name: str, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside the layers, AdamW for everything else."""
    everything = {id(p): n for n, p in stage.named_parameters()}
    learning = stage.trainable(name)
    inside = [p for p in learning if stage.with_muon and p.ndim == 2 and _MATRICES.search(everything[id(p)])]
    matrices = {id(p) for p in inside}
    outside = [p for p in learning if id(p) not in matrices]
    chosen: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(outside, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)
    ]
    if inside:
        chosen.append(
            torch.optim.Muon(inside, lr=plan.rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw", ns_steps=4)
        )
    for optimizer in chosen:
        for group in optimizer.param_groups:
            group["full_rate"] = group["lr"]
    return chosen


def rate_factor(step: int, plan: Plan) -> float:
    """Linear warm-up, then level, then down to nearly nothing."""
    left = (plan.steps - step) / (plan.steps * plan.decay) if plan.decay else 1.0
    return min(1.0, (step + 1) / plan.warmup, max(0.02, left))


def loader(dataset: Dataset[Any], collate: Callable[..., Any], plan: Plan, start: int, workers: int) -> Iterator[Any]:
    """Batches from step ``start`` on."""
    rest = Subset(dataset, range(start * plan.batch, plan.steps * plan.batch))
    ahead = 6 if workers else None
    return iter(DataLoader(rest, plan.batch, collate_fn=collate, num_workers=workers, prefetch_factor=ahead))


def moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {k: moved(v, device) for k, v in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


def run_stage(
    name: str,
    stage: Stage,
    examples: Dataset[Any],
    collate: Callable[..., Any],
    plan: Plan,
    options: argparse.Namespace,
) -> None:
    """Learn until the plan's last step; save the state now and then, and go on from it if it is there."""
    device = torch.device(options.device)
    stage.to(device).train()
    wanted = {id(p) for p in stage.trainable(name)}
    for parameter in stage.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    chosen = optimizers(stage, name, plan)
    state_file = options.out / f"{name}.state.pt"
    start = _restore(state_file, stage, chosen, device)
    saved_at = logged_at = time.monotonic()
    for step, batch in enumerate(loader(examples, collate, plan, start, options.workers), start=start):
        for optimizer in chosen:
            for group in optimizer.param_groups:
                group["lr"] = group["full_rate"] * rate_factor(step, plan)
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            loss, figures = stage.losses(moved(batch, device))
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in stage.parameters() if p.grad is not None], 1.0)
        for optimizer in chosen:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if (step + 1) % LOG_EVERY == 0:
            speed = LOG_EVERY * plan.batch / (time.monotonic() - logged_at)
            logged_at = time.monotonic()
            shown = " ".join(f"{k} {v:.3f}" for k, v in figures.items())
            print(f"{name} {step + 1}/{plan.steps} loss {loss.item():.3f} {shown} ({speed:.0f}/s)", flush=True)
        if time.monotonic() - saved_at > SAVE_EVERY_S:
            _save(state_file, stage, chosen, step + 1)
            saved_at = time.monotonic()
    _save(state_file, stage, chosen, plan.steps)


def _save(file: Path, stage: Stage, chosen: list[torch.optim.Optimizer], step: int) -> None:
    state = {"step": step, "model": stage.state_dict(), "optimizers": [o.state_dict() for o in chosen]}
    torch.save(state, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)


def _restore(file: Path, stage: Stage, chosen: list[torch.optim.Optimizer], device: torch.device) -> int:
    if not file.exists():
        return 0
    state = torch.load(file, map_location=device, weights_only=True)
    stage.load_state_dict(state["model"])
    for optimizer, saved in zip(chosen, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the hardware; a CPU that only imitates it is faster in float32."""
    return device.type != "cpu" or torch.cpu._is_avx512_bf16_supported()
