"""Stage two: the decoder reads a prompt and says the words of its picture (Janus, arXiv 2410.13848).

Shapes: B examples, T positions of prompt and picture, D width of the decoder, K words of the code book.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import JanusForConditionalGeneration, PreTrainedTokenizerFast

from recipes.drawing.autoencoder import pixels_of
from recipes.drawing.parts import BEGIN
from recipes.drawing.prompts import sample_order
from recipes.learning import Stage
from recipes.picturebook.data import normalised

_UNPROMPTED = 0.1  # of the examples
_AT_ONCE = 64


class Grids(Dataset[dict[str, Any]]):
    """Prompts with the words of their pictures, which are worked out once and kept in ``file``.

    In every tenth example the prompt is padding, as in the half of Janus' batch that guidance leads away from.
    """

    def __init__(
        self, janus: JanusForConditionalGeneration, tokens: PreTrainedTokenizerFast, kept: int, count: int, file: Path
    ) -> None:
        self.tokens, self.kept, self.count = tokens, kept, count
        self.begin = tokens.convert_tokens_to_ids(BEGIN)
        if not file.exists():
            torch.save(_grids(janus, kept), file.with_suffix(".part"))
            file.with_suffix(".part").replace(file)
        self.grids: Tensor = torch.load(file, weights_only=True)  # [kept, 256]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        order = sample_order(_rng(index % self.kept))
        ids = torch.tensor(prompt_ids(self.tokens, order.prompt))  # [prompt]
        if random.Random(f"unprompted-{index}").random() < _UNPROMPTED:
            ids[1:-1] = self.tokens.pad_token_id
        return {"prompt": ids, "grid": self.grids[index % self.kept].long()}


def _rng(index: int) -> random.Random:
    return random.Random(f"drawer-{index}")


@torch.no_grad()
def _grids(janus: JanusForConditionalGeneration, count: int) -> Tensor:
    """The words of the first ``count`` pictures, int16 [count, 256]."""
    found = []
    for first in range(0, count, _AT_ONCE):
        orders = [sample_order(_rng(index)) for index in range(first, min(first + _AT_ONCE, count))]
        pictures = normalised(torch.stack([pixels_of(order) for order in orders]))
        found.append(words_of(janus, pictures).short())
    return torch.cat(found)


def words_of(janus: JanusForConditionalGeneration, pictures: Tensor) -> Tensor:
    """[B, 3, side, side] -> [B, 256]"""
    return janus.model.vqmodel.encode(pictures).image_tokens.unflatten(0, (len(pictures), -1))


def prompt_ids(tokens: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    """The prompt as ``vlm draw`` gives it to the model, the begin of the picture at its end."""
    message = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    text = tokens.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    return tokens.encode(text + BEGIN, add_special_tokens=False)


def collate(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Prompt and picture in one row, filled up at the end, where no word of a picture looks."""
    rows = [torch.cat([example["prompt"], example["grid"]]) for example in examples]
    drawn = [torch.cat([example["prompt"] * 0, example["grid"] * 0 + 1]) for example in examples]
    pad = nn.utils.rnn.pad_sequence
    return {"ids": pad(rows, batch_first=True), "drawn": pad(drawn, batch_first=True).bool()}  # [B, T] each


class DrawerStage(Stage):
    """Everything of Janus that draws, apart from the autoencoder; the loss is that of the picture's words."""

    def __init__(self, janus: JanusForConditionalGeneration) -> None:
        super().__init__()
        self.janus = janus
        with torch.no_grad():
            janus.model.generation_embeddings.weight.copy_(janus.model.vqmodel.quantize.embedding.weight)

    def trainable(self, name: str) -> list[nn.Parameter]:
        parts = self.janus.model
        learning = (parts.language_model, parts.generation_embeddings, parts.generation_aligner, parts.generation_head)
        return [parameter for part in learning for parameter in part.parameters()]

    def losses(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        ids, drawn = batch["ids"], batch["drawn"]  # [B, T] each
        nothing = torch.zeros_like(ids)
        read = self.janus.get_input_embeddings()(torch.where(drawn, nothing, ids))  # [B, T, D]
        said = self.janus.prepare_embeddings_for_image_generation(torch.where(drawn, ids, nothing))  # [B, T, D]
        embeds = torch.where(drawn[..., None], said, read)
        hidden = self.janus.model.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state  # [B, T, D]
        logits = self.janus.model.generation_head(hidden[:, :-1][drawn[:, 1:]])  # [B * 256, K]
        wanted = ids[:, 1:][drawn[:, 1:]]  # [B * 256]
        right = (logits.argmax(-1) == wanted).float().mean()
        return nn.functional.cross_entropy(logits, wanted), {"right": right.item()}
