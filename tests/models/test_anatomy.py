"""Every weight is in the part where it works: nothing is lost, nothing is counted twice, gradients agree."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests import families, tiny
from vlmcli.inputs.chat import Prompt
from vlmcli.models.anatomy import assign, dissect, method, pair
from vlmcli.models.outline import skeleton
from vlmcli.types.chat import Message
from vlmcli.types.inspect import Part, Stack
from vlmcli.weights.safetensors import Weight

METHODS = {row.tiny: row.method for row in families.FAMILIES}
CROSS_ATTENTION = {family for family, way in METHODS.items() if way == "B"}
LLAVA = SimpleNamespace(
    model_type="llava",
    vision_config=SimpleNamespace(model_type="eye", hidden_size=8, num_hidden_layers=3),
    text_config=SimpleNamespace(model_type="mouth", hidden_size=16, num_attention_heads=4, vocab_size=100),
)


def parts_of(checkpoint: Any) -> dict[str, Part]:
    bones = skeleton(checkpoint)
    return {part.role: part for part in dissect(bones.config, bones.weights(), bones.stored)}


@pytest.mark.parametrize("family", list(tiny.FAMILIES))
def test_the_parts_add_up_to_the_model(checkpoint: Any, model: Any, family: str) -> None:
    """The sum is that of the loaded model, and of its file: each weight once, tied ones too."""
    parameters = list(model(family).model.parameters())
    parts = parts_of(checkpoint(family)).values()
    assert sum(part.parameters or 0 for part in parts) == sum(p.numel() for p in parameters)
    assert sum(part.size_bytes or 0 for part in parts) == sum(p.numel() * p.element_size() for p in parameters)
    assert all(part.parameters and part.dtype == "float32" for part in parts)


@pytest.mark.parametrize("family", list(tiny.GENERATORS | tiny.DUALS | tiny.CLASSIFIERS | tiny.SEGMENTERS))
def test_the_method_is_the_family_s(checkpoint: Any, family: str) -> None:
    parts = parts_of(checkpoint(family))
    expected = "dual" if family in tiny.DUALS else METHODS.get(family, "none")
    assert method(parts.values()) == expected
    assert (expected == "dual") == ("text-encoder" in parts)


# Idefics wants an image; Gemma 3n reads even a text through its projectors' vocabulary.
@pytest.mark.parametrize("family", [family for family in tiny.GENERATORS if family not in ("idefics", "gemma3n")])
def test_a_text_needs_the_decoder_alone(checkpoint: Any, model: Any, family: str) -> None:
    bones, whole = skeleton(checkpoint(family)), model(family).model
    children = dict(whole.named_children())
    reader = children.get("language_model") or children.get("text_model") or whole  # BLIP-2 as a whole wants an image
    places = assign((name for name, _ in whole.named_parameters()), bones.config)
    assert set(places) == {weight.name for weight in bones.weights()}
    touched = touches(whole, reader(input_ids=torch.tensor([[0, 5, 6]])).logits)
    assert {places[name].role for name in touched} == {"decoder"}


@pytest.mark.parametrize("family", [family for family in tiny.GENERATORS if family not in CROSS_ATTENTION])
def test_image_features_need_no_decoder(checkpoint: Any, model: Any, family: str) -> None:
    loaded = model(family)
    encode = getattr(loaded.model.base_model, "get_image_features", None)
    if encode is None or "projector" not in parts_of(checkpoint(family)):
        pytest.skip("no features of its own: text only, or images as words of the vocabulary")
    tensors = loaded.prepare(prompt(loaded)).tensors
    output = encode(**{name: tensors[name] for name in inspect.signature(encode).parameters if name in tensors})
    features = output.last_hidden_state if output.pooler_output is None else output.pooler_output
    features = torch.cat([f.flatten() for f in features]) if isinstance(features, (list, tuple)) else features
    places = assign((name for name, _ in loaded.model.named_parameters()), loaded.model.config)
    roles = {places[name].role for name in touches(loaded.model, features)}
    assert "projector" in roles and roles <= {"encoder", "projector"}


def prompt(loaded: Any) -> Prompt:
    images = (tiny.picture(),)
    if loaded.has_template:
        return Prompt((Message("user", "What?", 1),), images)
    return Prompt((Message("user", str(getattr(loaded.processor, "image_token", "")), 1),), images, raw=True)


def touches(module: torch.nn.Module, output: torch.Tensor) -> list[str]:
    """The parameters on which ``output`` depends."""
    named = dict(module.named_parameters())
    gradients = torch.autograd.grad(output.float().sum(), list(named.values()), allow_unused=True)
    return [name for name, gradient in zip(named, gradients, strict=True) if gradient is not None]


def test_figures_of_llava(checkpoint: Any) -> None:
    parts = parts_of(checkpoint("llava"))
    assert list(parts) == ["encoder", "projector", "decoder"]
    assert parts["encoder"].architecture == "siglip_vision_model" and parts["encoder"].stack == Stack(2, 32, 4, 4)
    assert parts["projector"].modules == ("model.multi_modal_projector",) and parts["projector"].stack == Stack(2, 32)
    assert parts["decoder"].architecture == "llama" and parts["decoder"].stack == Stack(2, 32, 4, 2)


def test_cross_attention_layers_are_no_layers_of_the_decoder(checkpoint: Any) -> None:
    parts = parts_of(checkpoint("mllama"))
    assert parts["fusion"].modules == ("model.language_model.layers.1",)
    assert (parts["fusion"].stack.layers, parts["decoder"].stack.layers) == (1, 2)


def test_the_width_of_an_encoder_is_the_one_inside(checkpoint: Any) -> None:
    """Qwen2-VL's ``hidden_size`` is what the projector makes; the blocks are ``embed_dim`` wide."""
    config = skeleton(checkpoint("qwen2_vl")).config
    config.vision_config.embed_dim, config.vision_config.hidden_size = 48, 32
    (encoder,) = dissect(config, [Weight("model.visual.blocks.0.attn.qkv.weight", "float32", (8, 8), 256)])
    assert encoder.stack.width == 48


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight", "encoder"),
        ("model.vision_tower.embeddings.patch_embeddings.projection.weight", "encoder"),
        ("visual.merger.mlp.0.weight", "projector"),
        ("model.visual.deepstack_merger_list.0.linear_fc1.weight", "projector"),
        ("mlp1.1.weight", "projector"),
        ("model.image_newline", "projector"),
        ("qformer.encoder.layer.0.crossattention.attention.query.weight", "projector"),
        ("language_model.model.layers.0.mlp.vision_moe.gate.weight", "decoder"),
        ("model.embed_tokens.weight", "decoder"),
        ("model.layers.0.post_attention_layernorm.weight", "decoder"),
        ("lm_head.weight", "decoder"),
        ("model.gated_cross_attn_layers.0.mlp.down_proj.weight", "fusion"),
        ("model.language_model.layers.3.cross_attn.q_proj.weight", "fusion"),
        ("model.audio_tower.layers.0.fc1.weight", "other"),
    ],
)
def test_names(name: str, role: str) -> None:
    assert assign([name], LLAVA)[name].role == role


def test_a_block_that_reads_text_too_keeps_its_own() -> None:
    names = [f"decoder.layer.0.{module}.weight" for module in ("crossattention.query", "attention.query", "output")]
    assert [place.role for place in assign(names, LLAVA).values()] == ["fusion", "decoder", "decoder"]


def test_a_block_that_reads_images_alone_is_fusion_as_a_whole() -> None:
    names = [f"model.layers.3.{module}" for module in ("cross_attn.q_proj.weight", "mlp.up.weight", "gate")]
    assert {place.role for place in assign([*names, "model.layers.31.mlp.up.weight"], LLAVA).values()} == {
        "fusion",
        "decoder",
    }
    assert all(assign(names, LLAVA)[name].role == "fusion" for name in names)


def test_a_scale_of_logits_makes_it_a_dual_encoder() -> None:
    places = assign(["text_model.embeddings.weight", "vision_model.head.weight", "logit_scale"], LLAVA)
    assert [place.role for place in places.values()] == ["text-encoder", "encoder", "fusion"]


def test_what_draws_images_is_no_encoder() -> None:
    names = ["model.vqmodel.decoder.conv.weight"]
    assert assign(names, LLAVA)[names[0]].role == "encoder"
    assert assign(names, SimpleNamespace(model_type="janus"))[names[0]].role == "other"


def weights(dtype: str, *shapes: tuple[int, ...], size: int) -> list[Weight]:
    return [Weight(f"model.layers.{i}.w", dtype, shape, size) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ("stored", "dtype", "size_bytes"),
    [
        ([], "float32", 64),
        (weights("bfloat16", (4, 2), (8,), size=16), "bfloat16", 32),
        ([*weights("bfloat16", (4, 2), (8,), size=16), Weight("model.x", "bfloat16", (8,), 16)], "bfloat16", 32),
        (weights("uint8", (4, 1), (4,), size=4), "uint8", 8),
    ],
    ids=["no-file", "half-precision", "a-tensor-too-many", "packed"],
)
def test_bytes_are_those_of_the_stored_format(stored: list[Weight], dtype: str, size_bytes: int) -> None:
    (part,) = dissect(LLAVA, weights("float32", (4, 2), (8,), size=32), stored)
    assert (part.parameters, part.dtype, part.size_bytes) == (16, dtype, size_bytes)


def test_a_configuration_alone_is_an_outline() -> None:
    encoder, decoder = dissect(LLAVA, [])
    assert (encoder.role, encoder.architecture, encoder.stack) == ("encoder", "eye", Stack(3, 8))
    assert (decoder.role, decoder.parameters, decoder.stack) == ("decoder", None, Stack(None, 16, 4, 4))


def test_a_value_that_differs_from_layer_to_layer_is_none() -> None:
    class Uneven:
        hidden_size, vocab_size = 16, 100

        @property
        def num_attention_heads(self) -> int:
            raise RuntimeError("it may vary across layers")

    (decoder,) = dissect(SimpleNamespace(model_type="uneven", text_config=Uneven()), [])
    assert decoder.stack == Stack(None, 16)


@pytest.mark.parametrize(
    ("value", "expected"), [(14, (14, 14)), ([8, 16], (16, 8)), ([7, 3, 3, 3], None), (None, None), ("14", None)]
)
def test_sizes_are_width_and_height(value: object, expected: tuple[int, int] | None) -> None:
    assert pair(SimpleNamespace(patch_size=value), "patch_size") == expected
