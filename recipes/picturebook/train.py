"""Train picturebook: `python -m recipes.picturebook.train --out runs/picturebook`.

Ten stages, each of which starts from what the one before has left:

1. ``encoder``    contrastive pre-training (SigLIP, arXiv 2303.15343) with each patch told what lies under it
2. ``reading``    the same at a lower rate, mostly on printed words: what is learned last
3. ``decoder``    language modelling on scenes told in words, with questions and answers
4. ``projector``  encoder and decoder frozen: only the projector learns (LLaVA, arXiv 2304.08485)
5. ``lookups``    projector and decoder, on the simplest questions: the colour of a shape, the shape of a colour, a word
6. ``relations``  likewise, on where things lie and which are bigger
7. ``counting``   likewise, on how many there are
8. ``comparisons`` likewise, on questions whose answer is yes or no, left or right
9. ``joint``      projector and decoder, on everything; the encoder stays as stage two has left it
10. ``finish``    the same, with more of what was learned last: counting and sizes

The state is saved every few minutes; the same command goes on where it was stopped, with the same examples.
``--start vlmcli/builtin --since finish --seed 2`` trains a folder of exported checkpoints further instead.
"""

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
from transformers import LlavaForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerFast, SiglipModel

from recipes.picturebook import parts, tokenizer
from recipes.picturebook.data import (
    IGNORE,
    ConversationExamples,
    EncoderExamples,
    collate_conversations,
    collate_encoder,
    normalised,
)
from recipes.picturebook.questions import COURSES

SAVE_EVERY_S = 240
LOG_EVERY = 50
_LOOKED_UP = 2  # blocks, of four
# Left to AdamW, the projector grows until the decoder's layers hardly move its tokens, and places are lost in it.
_MATRICES = re.compile(r"\.layers\.|projector")
STAGES = (
    "encoder",
    "reading",
    "decoder",
    "projector",
    "lookups",
    "relations",
    "counting",
    "comparisons",
    "joint",
    "finish",
)


@dataclass(frozen=True)
class Plan:
    """How long and how fast one stage learns."""

    steps: int
    batch: int
    rate: float
    warmup: int = 100
    decay: float = 1 / 3  # the last share of the steps, in which the rate falls to nothing


PLANS = {
    "encoder": Plan(3000, 32, 2e-3),
    "reading": Plan(2600, 32, 1.2e-3, decay=1.0),
    "decoder": Plan(300, 24, 2e-3),
    "projector": Plan(60, 24, 2e-3),
    "lookups": Plan(320, 24, 2e-3, decay=0.0),
    "relations": Plan(900, 24, 2e-3, warmup=20, decay=0.0),
    "counting": Plan(200, 24, 2e-3, warmup=20, decay=0.0),
    "comparisons": Plan(500, 24, 2e-3, warmup=20, decay=0.0),
    "joint": Plan(1700, 24, 2e-3, warmup=20, decay=0.5),
    "finish": Plan(2050, 24, 2.4e-3, warmup=10, decay=1.0),
}


class Stage(nn.Module):
    """A model with its training loss; ``losses`` gives the loss and figures for the log."""

    def losses(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        raise NotImplementedError


class EncoderStage(Stage):
    """Sigmoid loss over every picture and every claim of the batch, plus the patch read-outs."""

    def __init__(self, tokens: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.dual = parts.dual_model(tokens)
        self.dual.set_attn_implementation("eager")  # on CPU its backward pass is faster than the fused one's
        self.heads = parts.PatchHeads()
        self.tokens = tokenizer.for_dual(tokens, parts.TEXT_LENGTH)

    def losses(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        seen = self.dual.vision_model(pixel_values=normalised(batch["pixels"]))
        device = seen.last_hidden_state.device
        texts = self.tokens(batch["texts"], padding="max_length", truncation=True, return_tensors="pt").to(device)
        said = self.dual.text_model(input_ids=texts["input_ids"]).pooler_output
        image = nn.functional.normalize(seen.pooler_output.float(), dim=-1)  # [B, D]
        text = nn.functional.normalize(said.float(), dim=-1)  # [texts, D]
        logits = image @ text.T * self.dual.logit_scale.exp() + self.dual.logit_bias  # [B, texts]
        sign = batch["truth"].to(logits.dtype) * 2 - 1
        pairs = -nn.functional.logsigmoid(sign * logits).sum(1).mean()
        dense, figures = self.heads(seen.last_hidden_state, batch["labels"])
        figures["pairs"] = pairs.item()
        figures["truth"] = ((logits > 0) == batch["truth"]).float().mean().item()
        return dense + 0.3 * pairs, figures


class ConversationStage(Stage):
    """The decoder's loss on the answers, behind a picture or behind a scene told in words.

    Where a question names an item, half of the decoder's layers must be enough to know its place: the direct
    supervision without which comparisons of two places hardly begin to be learned.
    """

    def __init__(self, tokens: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.image = tokens.convert_tokens_to_ids(tokenizer.IMAGE)
        self.llava = parts.llava_model(tokens, self.image)
        self.llava.set_attn_implementation("eager")
        self.place = nn.Linear(parts.WIDTH, 3)  # thrown away afterwards, as the encoder's heads are

    def start_from(self, encoder: EncoderStage) -> None:
        """Take over the encoder, but for its pooling."""
        seen, tower = encoder.dual.vision_model.state_dict(), self.llava.model.vision_tower
        tower.load_state_dict({name: seen[name] for name in tower.state_dict()})

    def losses(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        ids, targets = batch["ids"], batch["targets"]
        embeddings = self.llava.get_input_embeddings()(ids)  # [B, T, D]
        if "pixels" in batch:
            seen = self.llava.get_image_features(pixel_values=normalised(batch["pixels"])).pooler_output
            flat = torch.cat(list(seen)).to(embeddings.dtype)  # [B * P, D]
            embeddings = embeddings.masked_scatter((ids == self.image)[..., None], flat)
        mask = torch.where(batch["mask"], 0.0, float("-inf")).to(embeddings.dtype)  # [B, 1, T, T]
        mask.diagonal(dim1=-2, dim2=-1).zero_()  # padding sees itself: no row without a column
        decoder = self.llava.model.language_model
        places = {"attention_mask": mask, "position_ids": batch["positions"]}
        hidden = decoder(inputs_embeds=embeddings, use_cache=False, output_hidden_states=True, **places)
        answered = targets != IGNORE  # [B, T]
        logits = self.llava.lm_head(hidden.last_hidden_state[answered]).float()  # [answers, V]
        each = nn.functional.cross_entropy(logits, targets[answered], reduction="none")  # [answers]
        weights = batch["weights"][answered]
        figures = {"tokens": (logits.argmax(-1) == targets[answered]).float().mean().item()}
        row, column = batch["named"].unbind(1)
        named = nn.functional.rms_norm(hidden.hidden_states[_LOOKED_UP][row, column], (parts.WIDTH,))  # [names, D]
        off = (self.place(named).float() - batch["places"]).abs().mean()  # the names' items: x, y, log radius / 2
        figures["off"] = off.item()
        return (each * weights).sum() / weights.sum() + 4 * off, figures


def trainable(stage: Stage, name: str) -> list[tuple[list[nn.Parameter], float]]:
    """What learns in a stage, in groups with a factor on the rate each."""
    if isinstance(stage, EncoderStage):
        return [(list(stage.parameters()), 1.0)]
    assert isinstance(stage, ConversationStage)
    model = stage.llava.model
    decoder, projector = list(model.language_model.parameters()), list(model.multi_modal_projector.parameters())
    place = list(stage.place.parameters())
    groups = {"decoder": [(decoder + place, 1.0)], "projector": [(projector, 1.0)]}
    return groups.get(name) or [(decoder + projector + place, 1.0)]


def optimizers(stage: Stage, name: str, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside the layers, AdamW for everything else."""
    everything = {id(p): n for n, p in stage.named_parameters()}
    matrices, others = [], []
    for parameters, factor in trainable(stage, name):
        inside = [p for p in parameters if p.ndim == 2 and _MATRICES.search(everything[id(p)])]
        outside = [p for p in parameters if id(p) not in {id(q) for q in inside}]
        matrices.append({"params": inside, "lr": plan.rate * factor})
        others.append({"params": outside, "lr": plan.rate * factor})
    chosen: list[torch.optim.Optimizer] = [torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01)]
    if any(g["params"] for g in matrices):
        muon = [g for g in matrices if g["params"]]
        chosen.append(torch.optim.Muon(muon, weight_decay=0.02, adjust_lr_fn="match_rms_adamw", ns_steps=4))
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
    wanted = {id(p) for parameters, _ in trainable(stage, name) for p in parameters}
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


def first_pictures(examples: Dataset[Any]) -> Tensor:
    """Some pictures to measure before learning begins: [B, 3, side, side], -1..1."""
    return normalised(torch.stack([examples[i]["pixels"] for i in range(512)]))


def restart(model: PreTrainedModel, folder: Path) -> None:
    """Take over the weights of an exported checkpoint."""
    with torch.no_grad():
        model.load_state_dict(type(model).from_pretrained(folder, dtype=torch.float32).state_dict())


def train(options: argparse.Namespace) -> tuple[SiglipModel, LlavaForConditionalGeneration, PreTrainedTokenizerFast]:
    """All stages from ``options.since`` to ``options.until``; returns the two models and their tokenizer."""
    torch.manual_seed(options.seed)
    tokens = tokenizer.load_or_build(options.start / "picturebook" if options.start else options.out / "tokenizer")
    encoder, conversation = EncoderStage(tokens), ConversationStage(tokens)
    if options.start:
        restart(encoder.dual, options.start / "picturebook-dual")
        restart(conversation.llava, options.start / "picturebook")
    for name in STAGES[STAGES.index(options.since) : STAGES.index(options.until) + 1]:
        plan = replace(PLANS[name], steps=max(1, math.ceil(PLANS[name].steps * options.scale)))
        count = plan.steps * plan.batch
        if name in ("encoder", "reading"):
            pictures = EncoderExamples(options.seed, count, reading=name == "reading")
            if name == "encoder":
                parts.whiten_patches(encoder.dual, first_pictures(pictures))
            run_stage(name, encoder, pictures, collate_encoder, plan, options)
            conversation.start_from(encoder)
            continue
        examples = ConversationExamples(
            options.seed, count, tokens, turns=8, written=name == "decoder", course=name if name in COURSES else None
        )
        if name == "projector":
            parts.whiten_projector(conversation.llava, first_pictures(examples))
        run_stage(name, conversation, examples, collate_conversations, plan, options)
    return encoder.dual, conversation.llava, tokens


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recipes.picturebook.train", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/picturebook"), help="folder for states and checkpoints")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw the pictures")
    parser.add_argument("--scale", type=float, default=1.0, help="times the steps of every stage")
    parser.add_argument("--start", type=Path, help="folder of exported checkpoints to go on from")
    parser.add_argument("--since", choices=STAGES, default=STAGES[0], help="the first stage; later than that: --start")
    parser.add_argument("--until", choices=STAGES, default="finish")
    return parser.parse_args()


def main() -> None:
    from recipes.picturebook.export import export

    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    export(*train(options), options.out)


if __name__ == "__main__":
    main()
