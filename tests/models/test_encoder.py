"""Vision encoders as parts: any transformers vision model, or none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf

from tests import tiny
from vlmcli.errors import ModelError
from vlmcli.models.encoder import Encoder, Patches

SIZE = {"image_size": 32, "patch_size": 8}
CONFIGS = {
    "siglip": hf.SiglipVisionConfig(**tiny.ENCODER, **SIZE),
    "clip": hf.CLIPVisionConfig(**tiny.ENCODER, **SIZE),
    "vit": hf.ViTConfig(**tiny.ENCODER, **SIZE),
    "dinov2": hf.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, **SIZE),
    "dinov2_with_registers": hf.Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_register_tokens=3, **SIZE
    ),
    "internvl_vision": hf.InternVLVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=[32, 32],
        patch_size=[8, 8],
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("layer", [None, -2, [-2, -1]])
def test_features_are_the_patches_alone(family: str, layer: Any) -> None:
    """Class tokens and registers stand before the patches, and are left out."""
    model = hf.AutoModel.from_config(CONFIGS[family]).eval()
    encoder = Encoder(model, layer)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = encoder(pixels)
        output = model(pixel_values=pixels, output_hidden_states=True)
    assert (
        features.shape == (2, encoder.tokens, encoder.width) == (2, 16, 32 * len(layer or [0]) if layer != -2 else 32)
    )
    layers = [output.last_hidden_state] if layer is None else output.hidden_states
    chosen = [layers[i] for i in ([0] if layer is None else [layer] if layer == -2 else layer)]
    assert torch.equal(features, torch.cat(chosen, dim=-1)[:, -16:])


def test_a_linear_layer_on_patches_is_a_strided_convolution() -> None:
    """Fuyu's way (and ViT's): flatten and multiply, or convolve with a stride of one patch."""
    patches, linear = Patches(8, 32), torch.nn.Linear(3 * 8 * 8, 16)
    convolution = torch.nn.Conv2d(3, 16, kernel_size=8, stride=8)
    with torch.no_grad():
        convolution.weight.copy_(linear.weight.view(16, 3, 8, 8))
        convolution.bias.copy_(linear.bias)
        pixels = torch.randn(2, 3, 32, 32)
        flat = linear(patches(pixels))  # [N, P, 16]
        assert (flat - convolution(pixels).flatten(2).transpose(1, 2)).abs().max() < 1e-5
    assert flat.shape == (2, patches.tokens, 16)


def test_patches_must_fill_the_picture() -> None:
    with pytest.raises(ModelError, match="cut into patches"):
        Patches(7, 32)
