"""The processor of a composition: text with slots, and pictures cut to the encoder's size.

It answers to what ``inputs.chat`` asks of a transformers processor. Shapes: N crops, I images, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image

from vlmcli.inputs.tiling import crops

SLOT = "<image>"


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
        images: Sequence[Sequence[Image.Image]] = ((),),
        add_special_tokens: bool = True,
        **_: Any,
    ) -> dict[str, Any]:
        """One prompt and its images.

        Returns ``input_ids`` and ``attention_mask`` int64 [1, T]; with images also ``pixel_values`` [N, 3, H, W],
        ``crops`` int64 [I] (of each image; the thumbnail comes first) and ``starts`` int64 [I], the position from
        which on an image can be looked at.

        Raises ValueError where slots and images differ in number.
        """
        (prompt,), (pictures,) = text, images
        ids = self.tokenizer(prompt, add_special_tokens=add_special_tokens)["input_ids"]
        if ids.count(self._slot_id) != len(pictures):
            raise ValueError(f"{ids.count(self._slot_id)} image placeholders for {len(pictures)} images")
        cut = [self._cut(picture) for picture in pictures]
        ids, starts = self._with_slots(ids, [self._slots(len(each)) if self._slots else 0 for each in cut])
        made: dict[str, Any] = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids)).long()}
        if pictures:
            made["pixel_values"] = self._pixels([crop for each in cut for crop in each])
            made["crops"] = torch.tensor([len(each) for each in cut])
            made["starts"] = torch.tensor(starts)
        return made

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
