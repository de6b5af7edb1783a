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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import LlavaForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerFast, SiglipModel

from recipes.learning import Plan, Stage, run_stage, training_parser
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

_LOOKED_UP = 2  # blocks, of four
MEASURED = 512  # pictures, before learning begins
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

    def trainable(self, name: str) -> list[nn.Parameter]:
        model = self.llava.model
        decoder, projector = list(model.language_model.parameters()), list(model.multi_modal_projector.parameters())
        place = list(self.place.parameters())
        return {"decoder": decoder + place, "projector": projector}.get(name) or decoder + projector + place

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


def first_pictures(examples: Dataset[Any]) -> Tensor:
    """Some pictures to measure before learning begins: [B, 3, side, side], -1..1."""
    return normalised(torch.stack([examples[i]["pixels"] for i in range(MEASURED)]))


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
        plan = PLANS[name].scaled(options.scale)
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
    parser = training_parser("recipes.picturebook.train", __doc__, Path("runs/picturebook"), workers=1)
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
