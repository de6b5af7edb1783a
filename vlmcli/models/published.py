"""Checkpoints in the layout of InternVL's own repository, which transformers reads only with the publisher's code.

``internvl_chat`` (InternVL up to 3, arXiv 2404.16821) and ``NVLM_D`` (NVLM-D, arXiv 2409.11402) are InternVL by other
names: config.json and the tensors' names are translated while they are read, and nothing that comes with them is run.

Shapes: D width of the vision encoder, H width of its padded heads.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import ConversionOps, WeightConverter, WeightRenaming
from transformers.models.auto import modeling_auto as auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from vlmcli.models.families import UNKNOWN_TOKEN

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

# Published name -> name in transformers, for values of the vision encoder that are called otherwise.
_VISION_NAMES = {
    "qkv_bias": "attention_bias",
    "qk_normalization": "use_qk_norm",
    "initializer_factor": "layer_scale_init_value",
}
# Pieces of the tensors' names, replaced one after the other.
_RENAMED = {
    r"^language_model.lm_head": "lm_head",
    r"^language_model.model": "model.language_model",
    r"^mlp1.0": "model.multi_modal_projector.layer_norm",
    r"^mlp1.1": "model.multi_modal_projector.linear_1",
    r"^mlp1.3": "model.multi_modal_projector.linear_2",
    r"^vision_model.encoder.layers": "model.vision_tower.encoder.layer",
    r"^vision_model": "model.vision_tower",
    r"embeddings.class_embedding": "embeddings.cls_token",
    r"embeddings.position_embedding$": "embeddings.position_embeddings",
    r"embeddings.patch_embedding\.": "embeddings.patch_embeddings.projection.",
    r"\.norm1\.": ".layernorm_before.",
    r"\.norm2\.": ".layernorm_after.",
    r"\.ls1$": ".lambda_1",
    r"\.ls2$": ".lambda_2",
    r"\.attn.proj.bias": ".attention.projection_layer.bias",
}
# Those of which a part is taken, or several.
_CUT = {
    "attn.qkv.weight": [f"attention.{part}_proj.weight" for part in "qkv"],
    "attn.qkv.bias": [f"attention.{part}_proj.bias" for part in "qkv"],
    "attn.proj.weight": ["attention.projection_layer.weight"],
    "attn.q_norm.weight": ["attention.q_norm.weight"],
    "attn.k_norm.weight": ["attention.k_norm.weight"],
}


class InternVLChatConfig(hf.InternVLConfig):  # type: ignore[misc]
    """config.json with ``llm_config`` and InternViT's names, read as InternVL's."""

    model_type = "internvl_chat"
    image_token_id: int = UNKNOWN_TOKEN

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Translate the published values. Raises ValueError for what InternVL in transformers cannot do."""
        return super().from_dict(_translated(config_dict) if "llm_config" in config_dict else config_dict, **kwargs)


class NvlmDConfig(InternVLChatConfig):
    """The same under NVIDIA's name."""

    model_type = "NVLM_D"


class InternVLChat(hf.InternVLForConditionalGeneration):  # type: ignore[misc]
    """InternVL, as it is."""

    config_class = InternVLChatConfig


class NvlmD(InternVLChat):
    """InternVL with a projector as wide as the decoder's feed-forward layers, without biases."""

    config_class = NvlmDConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        projector, text = self.model.multi_modal_projector, config.text_config
        projector.linear_1 = nn.Linear(projector.linear_1.in_features, text.intermediate_size, bias=False)
        projector.linear_2 = nn.Linear(text.intermediate_size, text.hidden_size, bias=False)


class InternVLChatProcessor(hf.ProcessorMixin):  # type: ignore[misc]
    """Tiles and a thumbnail, sized by config.json; slots between <img> and </img>."""

    image_token, image_start, image_end = "<IMG_CONTEXT>", "<img>", "</img>"

    def __init__(self, image_processor: Any, tokenizer: Any, slots: int, chat_template: str | None = None) -> None:
        """``slots``: image slots of a tile."""
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.slots = slots

    @classmethod
    def from_pretrained(cls, folder: str, **kwargs: Any) -> Any:
        """The tokenizer of a folder, and an image processor made from its config.json."""
        published = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        vision = published["vision_config"]
        side = published.get("force_image_size") or vision["image_size"]
        images = hf.GotOcr2ImageProcessor(
            size={"height": side, "width": side},
            crop_to_patches=published.get("dynamic_image_size", True),
            min_patches=published.get("min_dynamic_patch", 1),
            max_patches=published.get("max_dynamic_patch", 12),
            use_thumbnail=published.get("use_thumbnail", True),
            **_IMAGENET,
        )
        tokenizer = hf.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        slots = int((side // vision["patch_size"] * published["downsample_ratio"]) ** 2)
        return cls(images, tokenizer, slots, tokenizer.chat_template)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        """What stands in the prompt for an image."""
        tiles = int(image_inputs["num_patches"][image_idx])
        return f"{self.image_start}{self._tiles(tiles)}{self.image_end}"

    @property
    def unused_input_names(self) -> list[str]:
        """What the model does not take."""
        return ["num_patches"]

    def _tiles(self, count: int) -> str:
        return self.image_token * self.slots * count


class NvlmDProcessor(InternVLChatProcessor):
    """A tag in words before the slots of every tile; a single tile counts as the thumbnail."""

    image_token, image_start, image_end = "<|vision_pad|>", "<Image>", "</Image>"

    def _tiles(self, count: int) -> str:
        tags = [*(f"<tile_{i}>" for i in range(1, count)), "<tile_global_thumbnail>"]
        return "".join(tag + self.image_token * self.slots for tag in tags)


class _Heads(ConversionOps):  # type: ignore[misc]
    """Leave out the heads that NVLM-D's encoder is padded with, and part queries, keys and values.

    [3 H, ...] -> three times [D, ...]; [H] -> [D]; [D, H] -> [D, D].
    """

    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **kwargs: Any
    ) -> dict[str, Tensor]:
        (given,) = input_dict.values()
        tensor: Tensor = given[0] if isinstance(given, list) else given
        width = kwargs["config"].vision_config.hidden_size
        if "projection_layer" in target_patterns[0]:
            return {target_patterns[0]: tensor[:, :width].contiguous()}
        parts = torch.chunk(tensor, len(target_patterns))
        return {name: part[:width].contiguous() for name, part in zip(target_patterns, parts, strict=True)}


def teach_published_layouts() -> None:
    """Make transformers' auto classes read both layouts; once for the process."""
    _teach()


@cache
def _teach() -> None:
    for config, model, processor in (
        (InternVLChatConfig, InternVLChat, InternVLChatProcessor),
        (NvlmDConfig, NvlmD, NvlmDProcessor),
    ):
        hf.AutoConfig.register(config.model_type, config)
        hf.AutoModelForImageTextToText.register(config, model)
        hf.AutoProcessor.register(config, processor)
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[config.model_type] = model.__name__
        register_checkpoint_conversion_mapping(config.model_type, _conversions())


def _conversions() -> list[Any]:
    renamed = [WeightRenaming(source_patterns=old, target_patterns=new) for old, new in _RENAMED.items()]
    cut = [
        WeightConverter(source_patterns=old, target_patterns=new, operations=[_Heads()]) for old, new in _CUT.items()
    ]
    return renamed + cut


def _translated(published: dict[str, Any]) -> dict[str, Any]:
    """config.json's content in InternVL's words."""
    vision = published["vision_config"]
    if published.get("ps_version", "v2") != "v2":
        raise ValueError(f"its pixel shuffle is of version {published['ps_version']}, and vlm knows v2")
    config = {
        "vision_config": _known("internvl_vision", {_VISION_NAMES.get(k, k): v for k, v in vision.items()}),
        "text_config": _text(published["llm_config"]),
        "downsample_ratio": published["downsample_ratio"],
        "vision_feature_layer": published.get("select_layer", -1),
        "tie_word_embeddings": published["llm_config"].get("tie_word_embeddings", False),
    }
    return {**config, **{name: published[name] for name in ("architectures", "torch_dtype") if name in published}}


def _text(published: dict[str, Any]) -> dict[str, Any]:
    """The decoder's values: of the family that ``architectures`` names, for NVLM-D calls its Qwen2 a Llama."""
    names = {name: kind for kind, name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items() if isinstance(name, str)}
    kind = names.get((published.get("architectures") or [""])[0], published["model_type"])
    return {**_known(kind, published, "rope_theta", "rope_scaling"), "model_type": kind}


def _known(kind: str, values: dict[str, Any], *more: str) -> dict[str, Any]:
    """The values that a configuration class has a field for. Raises ValueError where transformers lacks the class."""
    if kind not in CONFIG_MAPPING:
        raise ValueError(f"its part of type {kind!r} is unknown to transformers")
    fields = {*CONFIG_MAPPING[kind].__dataclass_fields__, *more}
    return {name: value for name, value in values.items() if name in fields and name != "model_type"}
