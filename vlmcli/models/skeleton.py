"""A model without its numbers: every module and shape on torch's meta device, which takes no memory.

It answers what only the shapes and the processor decide: how many weights there are, how many tokens an image becomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from vlmcli.errors import InputError, first_line
from vlmcli.inputs.chat import Prompt
from vlmcli.models.prompts import ImageShape
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message
from vlmcli.types.result import ModelInfo
from vlmcli.weights.safetensors import Weight

META = torch.device("meta")


@dataclass(frozen=True)
class Skeleton:
    """What a checkpoint's configuration files make; ``notes`` say what could not be had, and why.

    ``model`` is None for what transformers cannot build, ``processor`` where its files are missing, ``kind`` for what
    vlm cannot run. ``stored`` lists the tensors in the checkpoint's files, none where there are no files.
    """

    info: ModelInfo
    config: Any
    kind: str | None = None
    model: Any = None
    processor: Any = None
    template: str | None = None
    licence: str | None = None
    stored: tuple[Weight, ...] = ()
    notes: tuple[str, ...] = ()

    def weights(self) -> tuple[Weight, ...]:
        """Every parameter once, tied ones under the first of their names; none where there is no model."""
        if self.model is None:
            return ()
        return tuple(
            Weight(name, str(p.dtype).removeprefix("torch."), tuple(p.shape), p.numel() * p.element_size())
            for name, p in self.model.named_parameters()
        )

    @property
    def sees(self) -> bool:
        """Whether it takes images, as far as is known."""
        return self.model is not None and hasattr(self.processor, "image_processor")

    def image_shape(self, image: Image.Image) -> ImageShape:
        """What an upright RGB image becomes, by the model's own processor. Raises InputError where it refuses it."""
        if self.kind == "llm":
            raise InputError("this model reads text only", hint="choose another model with -m")
        if not self.sees:
            raise InputError("; ".join(self.notes) or "no image tokens can be counted")
        return self._patches(image) if self.kind == "dual" else self._slots(image)

    def _slots(self, image: Image.Image) -> ImageShape:
        """Of a decoder: the places in its prompt."""
        vlm = Vlm(self.model, self.processor, self.info, self.template)
        vlm.device = torch.device("cpu")  # on meta nobody could read the slots among the ids
        if vlm.has_template:
            prompt = Prompt((Message("user", "Describe the image.", images=1),), (image,))
        else:
            slot = str(getattr(self.processor, "image_token", None) or "")
            prompt = Prompt((Message("user", slot, images=1),), (image,), raw=True)
        return vlm.prepare(prompt).images[0]

    def _patches(self, image: Image.Image) -> ImageShape:
        """Of a dual encoder: the positions in its image encoder."""
        inputs = self.processor.image_processor(images=[image], return_tensors="pt")
        pixels, mask = inputs["pixel_values"], inputs.get("pixel_attention_mask")
        if mask is not None:
            return ImageShape(None, int(mask.sum()))
        try:
            features = self.model.get_image_features(pixel_values=pixels.to(META, self.model.dtype))
        except (ValueError, RuntimeError, NotImplementedError) as error:
            raise InputError(f"the model refuses this image: {first_line(error)}") from error
        return ImageShape((pixels.shape[-1], pixels.shape[-2]), features.last_hidden_state.shape[1])
