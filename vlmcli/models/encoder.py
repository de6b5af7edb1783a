"""Vision encoders: pictures -> features of their patches.

Shapes: N pictures, P patches, D width; H and W in pixels, p the side of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlmcli.errors import ModelError


class Encoder(nn.Module):
    """Any transformers vision model, read out at one of its layers.

    ``layer`` counts hidden states as LLaVA does (-2: the input of the last block); several are laid side by side; None
    is the encoder's own output. Tokens that stand for no patch (class token, registers) are dropped.
    """

    def __init__(self, model: Any, layer: int | Sequence[int] | None = None) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self.layers = None if layer is None else (layer,) if isinstance(layer, int) else tuple(layer)
        self.side_px = _side_px(model.config)
        self.patch_px = int(_first(model.config.patch_size))

    @property
    def width(self) -> int:
        """D of what comes out."""
        return int(self.model.config.hidden_size) * len(self.layers or (0,))

    @property
    def tokens(self) -> int:
        """P of a picture of the encoder's own size."""
        return (self.side_px // self.patch_px) ** 2

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Pictures [N, 3, H, W], normalised as the encoder's image processor does -> features [N, P, D]."""
        output = self.model(pixel_values=pixel_values, output_hidden_states=self.layers is not None)
        if self.layers is None:
            features = output.last_hidden_state  # [N, 1 + P, D], or [N, P, D]
        else:
            features = torch.cat([output.hidden_states[layer] for layer in self.layers], dim=-1)  # [N, 1 + P, D]
        patches = (pixel_values.shape[-2] // self.patch_px) * (pixel_values.shape[-1] // self.patch_px)
        return features[:, features.shape[1] - patches :]  # type: ignore[no-any-return]  # [N, P, D]


class Patches(nn.Module):
    """No encoder at all: the pixels of a patch are its features (Fuyu, adept.ai, 2023).

    A linear projector behind it equals a convolution of stride p.
    """

    def __init__(self, patch_px: int, side_px: int) -> None:
        super().__init__()
        if patch_px < 1 or side_px % patch_px:
            raise ModelError(f"pictures of {side_px} pixels cannot be cut into patches of {patch_px}")
        self.patch_px, self.side_px = patch_px, side_px

    @property
    def width(self) -> int:
        """3 p p."""
        return 3 * self.patch_px**2

    @property
    def tokens(self) -> int:
        """P of a picture of the model's own size."""
        return (self.side_px // self.patch_px) ** 2

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] -> their patches, row by row, channel by channel [N, P, 3 p p]."""
        return nn.functional.unfold(pixel_values, self.patch_px, stride=self.patch_px).transpose(1, 2)


def _side_px(config: Any) -> int:
    size = getattr(config, "image_size", None)
    if size is None:
        raise ModelError(f"{config.model_type} encoders take pictures of any size, which compositions cannot use yet")
    return int(_first(size))


def _first(value: Any) -> Any:
    """Sizes are one number, or one for each direction."""
    return value[0] if isinstance(value, (list, tuple)) else value
