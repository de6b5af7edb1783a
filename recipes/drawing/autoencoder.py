"""Stage one: pictures as words of a code book, and back (VQ-VAE, arXiv 1711.00937).

Janus develops what it draws from code vectors of length one. So vectors are compared by direction here, and the code
book is left with vectors of length one, for which the nearest by direction is the nearest by distance too:
transformers' own ``encode`` picks the same words.

Shapes: B pictures, N = B x 256 cells, C width of a code, K words.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import JanusForConditionalGeneration

from recipes.drawing.prompts import PALETTE, SIDE_PX, Order, sample_order
from recipes.learning import Stage
from recipes.picturebook import data
from recipes.picturebook.scenes import draw

_COMMITMENT = 0.25
_WARM_STEPS = 100  # without words: else all vectors huddle together before they have anything to say
_NOISE = 0.1  # to each number of a vector in these steps, so that what differs is told apart by more than that
_IDLE_STEPS = 30  # a word that nothing was near to for so long becomes a vector of the batch


def pixels_of(order: Order) -> Tensor:
    """uint8 [3, side, side]"""
    return data.pixels_of(draw(order.scene, random.Random(0)), SIDE_PX)


class Pictures(Dataset[Tensor]):
    """Pictures of a stream of orders, on grounds of any colour: number 17 is the same whoever draws it, whenever."""

    def __init__(self, stream: str, count: int) -> None:
        self.stream, self.count = stream, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return pixels_of(sample_order(random.Random(f"{self.stream}-{index}"), tuple(PALETTE)))


def collate(pictures: list[Tensor]) -> dict[str, Tensor]:
    return {"pixels": torch.stack(pictures)}


class AutoencoderStage(Stage):
    """Janus' autoencoder; the loss is the mean error of the pixels, and how far the vectors are from their words."""

    steps: Tensor
    idle: Tensor  # [K]: for how many steps

    def __init__(self, janus: JanusForConditionalGeneration, seed: int) -> None:
        super().__init__()
        self.vq = janus.model.vqmodel.to(memory_format=torch.channels_last)  # faster on a CPU
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("idle", torch.full((self.vq.quantize.num_embeddings,), _IDLE_STEPS))
        self.generator = torch.Generator().manual_seed(seed)

    def losses(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        pictures = data.normalised(batch["pixels"])  # [B, 3, side, side]
        vectors = self.vectors(pictures)  # [B, C, 16, 16]
        flat = vectors.permute(0, 2, 3, 1).flatten(0, 2)  # [N, C]
        given, cost, figures = self._warm(flat) if self.steps < _WARM_STEPS else self._said(flat)
        self.steps += 1
        pixels = self.pixels(given.unflatten(0, (len(pictures), *vectors.shape[2:])).permute(0, 3, 1, 2))
        error = (pixels - pictures).abs().mean()
        return error + cost, {"pixels": error.item(), **figures}

    def _warm(self, flat: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Vectors [N, C] with noise, which costs nothing."""
        noise = torch.randn(flat.shape, generator=self.generator) * _NOISE
        return flat + noise.to(flat.device), flat.new_zeros(()), {}

    def _said(self, flat: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
        """The words' vectors [N, C] in the place of the encoder's, and what it costs that they differ."""
        self._wake_idle(flat.detach())
        book = nn.functional.normalize(self.vq.quantize.embedding.weight, dim=-1)  # [K, C]
        words = (flat @ book.T).argmax(dim=-1)  # [N]
        self.idle += 1
        self.idle[words] = 0
        nearest = book[words]  # [N, C]
        apart = (nearest - flat.detach()).square().sum(-1).mean()
        committed = (nearest.detach() - flat).square().sum(-1).mean()
        straight = flat + (nearest - flat).detach()  # [N, C]: gradients pass the choice of words by
        figures = {"apart": apart.item(), "words": float(words.unique().numel())}
        return straight, apart + _COMMITMENT * committed, figures

    def vectors(self, pictures: Tensor) -> Tensor:
        """[B, 3, side, side] -> [B, C, 16, 16], of length one."""
        return nn.functional.normalize(self.vq.quant_conv(self.vq.encoder(pictures)), dim=1)

    def pixels(self, vectors: Tensor) -> Tensor:
        """[B, C, 16, 16] -> [B, 3, side, side]"""
        return self.vq.decoder(self.vq.post_quant_conv(vectors))

    @torch.no_grad()
    def _wake_idle(self, flat: Tensor) -> None:
        """Move words that no vector [N, C] was near to for long to where words are missing: far from all the others."""
        book = self.vq.quantize.embedding.weight
        sleeping = self.idle >= _IDLE_STEPS  # [K]
        if sleeping.any():
            known = nn.functional.normalize(book[~sleeping], dim=-1)  # [awake, C]
            missing = torch.cdist(flat, known).amin(-1).square() if len(known) else torch.ones(len(flat))  # [N]
            chosen = torch.multinomial(missing.cpu() + 1e-9, int(sleeping.sum()), True, generator=self.generator)
            book[sleeping] = flat[chosen]
            self.idle[sleeping] = 0

    @torch.no_grad()
    def settle(self) -> None:
        """Leave the code book's vectors with length one, and the weights as they are kept."""
        self.vq.to(memory_format=torch.contiguous_format)
        book = self.vq.quantize.embedding.weight
        book.copy_(nn.functional.normalize(book, dim=-1))
