"""The decoder's layers, read as if each were the last; and projected patches beside the words of the vocabulary.

The logit lens (nostalgebraist, "interpreting GPT: the logit lens", 2020) on a vision-language model's image positions
(Neo et al. 2024, arXiv 2410.07149).

Shapes: T positions, R rows (a position in a layer), C rows of a chunk, P projected patches, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from vlmcli.errors import InputError
from vlmcli.models.blocks import entering, leaving, one_stream
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import HEAD_CHUNK, Vlm

# Hidden states that are held at once; where all layers take more, the prompt is read again for the next of them.
_HELD_BYTES = 256_000_000

# Words of the vocabulary whose embeddings are scaled to length 1 at once: 128 MB in float32 for a width of 4,096.
_WORDS = 8192


def lens_logits(
    vlm: Vlm, inputs: Inputs, layers: Sequence[int], positions: Sequence[int], held_bytes: int = _HELD_BYTES
) -> Iterator[Tensor]:
    """Final norm and head on hidden states: logits [C, V], C <= 64, all ``positions`` of the first layer first.

    Memory grows neither with positions x vocabulary nor with positions x layers.

    Args:
        inputs: encoded before, so that images are not encoded for each reading.
        layers: 0 is what enters the first block, n what leaves block n.
        positions: of the prompt.

    Raises what reading and ``Vlm.read_out`` raise.
    """
    width = vlm.model.config.get_text_config().hidden_size
    each = max(len(positions) * width * vlm.model.dtype.itemsize, 1)
    group = max(held_bytes // each, 1)
    for start in range(0, len(layers), group):
        states = hidden_states(vlm, inputs, layers[start : start + group], positions)  # [l, positions, D]
        for rows in torch.split(states.flatten(0, 1), HEAD_CHUNK):  # [C, D]
            yield vlm.read_out(rows[None])


def hidden_states(vlm: Vlm, inputs: Inputs, layers: Sequence[int], positions: Sequence[int]) -> Tensor:
    """Hidden states [layers, positions, D] of one reading.

    What leaves block n is what enters the next one: some families add to it in between (Qwen3-VL's deep features).
    """
    wanted = torch.tensor(positions, device=vlm.device)
    caught: dict[int, Tensor] = {}

    def keep(layer: int, hidden: Tensor) -> None:
        own = one_stream(hidden)[0, -len(inputs.ids) :]  # [T, D]; GIT's image features stand before the text
        caught.setdefault(layer, own[wanted])

    with ExitStack() as hooks:
        for layer in layers:
            place = leaving if layer == len(vlm.blocks) else entering
            block = vlm.blocks[min(layer, len(vlm.blocks) - 1)]
            hooks.enter_context(place(block, partial(keep, layer)))
        vlm.hidden(inputs)
    if missing := [layer for layer in layers if layer not in caught]:
        raise InputError(f"block {missing[0]} does not run for this prompt, so it has no hidden states")
    return torch.stack([caught[layer] for layer in layers])


def projected_patches(inputs: Inputs) -> Tensor | None:
    """What the projector made of the images, [P, D] in the order of the slots; None where it cannot be seen."""
    encoded = inputs.tensors.get("mm_encoder_outputs")
    if not encoded:
        return None
    output = encoded["image"]
    features = output.pooler_output if output.pooler_output is not None else output.last_hidden_state
    parts = features if isinstance(features, (list, tuple)) else [features]
    flat = [part.flatten(0, -2) for part in parts]
    return torch.cat(flat) if flat else None  # [P, D]


def nearest_words(vlm: Vlm, patches: Tensor, k: int, words: int = _WORDS) -> tuple[Tensor, Tensor]:
    """The ``k`` words whose input embeddings point most nearly the same way: cosines [P, k] and ids [P, k].

    The vocabulary is gone through ``words`` at a time, so that no second copy of its embeddings is made.
    """
    embedding: nn.Embedding = vlm.model.get_input_embeddings()
    matrix = embedding.weight  # [V, D]
    with torch.inference_mode():
        patches = nn.functional.normalize(patches.to(matrix.device).float(), dim=-1)  # [P, D]
        best = torch.full((len(patches), 0), 0.0, device=matrix.device)  # [P, 0..k]
        ids = torch.zeros(len(patches), 0, dtype=torch.long, device=matrix.device)
        for start in range(0, len(matrix), words):
            some = nn.functional.normalize(matrix[start : start + words].float(), dim=-1)  # [words, D]
            for_some, some_ids = _nearest(patches, some, k)
            best, order = torch.cat([best, for_some], dim=1).sort(dim=1, descending=True, stable=True)
            best, order = best[:, :k], order[:, :k]  # [P, k]
            ids = torch.cat([ids, some_ids + start], dim=1).gather(1, order)  # [P, k]
    return best, ids


def _nearest(patches: Tensor, words: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines [P, k] and rows [P, k] of unit vectors [P, D] and [W, D]."""
    found = [(chunk @ words.T).topk(min(k, len(words)), dim=1) for chunk in torch.split(patches, 512)]  # [512, W]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
