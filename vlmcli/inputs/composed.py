"""The processor of a composition: text with slots, and pictures cut to the encoder's size.

It answers to what ``inputs.chat`` asks of a transformers processor. Shapes: B prompts, T positions, I images, N crops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from vlmcli.errors import InputError
from vlmcli.inputs.tiling import crops

SLOT = "<image>"


@dataclass(frozen=True)
class _Row:
    """One prompt: its ids, where its images begin, and their crops."""

    ids: list[int]
    starts: list[int]
    crops: list[list[Image.Image]]


class ComposedProcessor:
    """A decoder's tokenizer beside an encoder's image processor.

    Args:
        tokenizer: of the decoder.
        image_processor: of the encoder; given pictures, it returns ``pixel_values`` [N, 3, H, W].
        side_px: of the pictures that the encoder takes.
        slots: how many positions of the text a picture of so many crops takes; None where pictures take none.
        slot: the token that stands for a picture; it is added to the tokenizer if it is not there.
        max_tiles: into how many tiles a picture may be cut; 1 leaves it whole, in the way of the image processor.
    """

    def __init__(
        self,
        tokenizer: Any,
        image_processor: Any,
        side_px: int,
        slots: Callable[[int], int] | None,
        slot: str = SLOT,
        max_tiles: int = 1,
    ) -> None:
        if slot not in tokenizer.get_vocab():
            tokenizer.add_special_tokens({"additional_special_tokens": [slot]})
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.image_token = slot
        self._slot_id = int(tokenizer.convert_tokens_to_ids(slot))
        self.image_token_id = self._slot_id if slots else None
        self.all_special_multimodal_tokens: list[str] = [slot]
        self._side_px, self._slots, self._max_tiles = side_px, slots, max_tiles

    @property
    def chat_template(self) -> Any:
        """The tokenizer's own."""
        return self.tokenizer.chat_template

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """The tokenizer's own."""
        return self.tokenizer.apply_chat_template(conversation, **options)

    def __call__(
        self,
        text: Sequence[str],
        images: Sequence[Sequence[Image.Image]] = (),
        add_special_tokens: bool = True,
        **_: Any,
    ) -> dict[str, Any]:
        """Prompts and their images, padded on the left.

        Returns ``input_ids`` and ``attention_mask`` int64 [B, T]; with images also ``pixel_values`` [N, 3, H, W],
        ``crops`` int64 [I] (of each image; the thumbnail comes first), ``owners`` int64 [I], the prompt that shows an
        image, and ``starts`` int64 [I], the position from which on it can be looked at.

        Raises InputError where slots and images differ in number.
        """
        rows = [self._row(t, p, add_special_tokens) for t, p in zip(text, images or [()] * len(text), strict=True)]
        longest = max(len(row.ids) for row in rows)
        pads = [longest - len(row.ids) for row in rows]
        padding = self.tokenizer.pad_token_id or 0  # masked: which token it is does not matter
        ids = [[padding] * pad + row.ids for row, pad in zip(rows, pads, strict=True)]
        seen = [[0] * pad + [1] * len(row.ids) for row, pad in zip(rows, pads, strict=True)]
        made: dict[str, Any] = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(seen)}
        if any(row.crops for row in rows):
            made["pixel_values"] = self._pixels([crop for row in rows for own in row.crops for crop in own])
            made["crops"] = torch.tensor([len(own) for row in rows for own in row.crops])
            made["owners"] = torch.tensor([number for number, row in enumerate(rows) for _ in row.crops])
            made["starts"] = torch.tensor([p + s for row, p in zip(rows, pads, strict=True) for s in row.starts])
        return made

    def _row(self, prompt: str, pictures: Sequence[Image.Image], add_special_tokens: bool) -> _Row:
        ids = self.tokenizer(prompt, add_special_tokens=add_special_tokens)["input_ids"]
        if ids.count(self._slot_id) != len(pictures):
            raise InputError(f"the prompt has {ids.count(self._slot_id)} image placeholders for {len(pictures)} images")
        cut = [self._cut(picture) for picture in pictures]
        return _Row(*self._with_slots(ids, [self._slots(len(own)) if self._slots else 0 for own in cut]), cut)

    def _cut(self, picture: Image.Image) -> list[Image.Image]:
        return [picture] if self._max_tiles == 1 else crops(picture, self._side_px, self._max_tiles)

    def _pixels(self, pictures: list[Image.Image]) -> torch.Tensor:
        return self.image_processor(images=pictures, return_tensors="pt")["pixel_values"]  # type: ignore[no-any-return]

    def _with_slots(self, ids: list[int], slots: list[int]) -> tuple[list[int], list[int]]:
        """Each placeholder becomes as many slots as its image needs; and where each image begins."""
        longer: list[int] = []
        starts: list[int] = []
        for token_id in ids:
            if token_id == self._slot_id:
                starts.append(len(longer))
                longer += [token_id] * slots[len(starts) - 1]
            else:
                longer.append(token_id)
        return longer, starts
