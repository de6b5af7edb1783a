"""Models of known shapes with random weights: what the weights are does not change the time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from PIL import Image
from transformers.initialization import no_init_weights

from vlmcli.inputs.chat import Prompt
from vlmcli.models.torchvision_shim import mend_torchvision
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message
from vlmcli.types.result import ModelInfo
from vlmcli.weights.resolve import BUILTIN

_SMOLLM2: dict[str, Any] = {  # SmolLM2-135M
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
_QWEN2_HALF: dict[str, Any] = {  # Qwen2-0.5B
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
_QWEN2_TWO: dict[str, Any] = {  # the decoder of Qwen2-VL-2B
    **_QWEN2_HALF,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
}
DECODERS: dict[str, Callable[[], Any]] = {
    "135m": lambda: hf.LlamaConfig(**_SMOLLM2),
    "0.5b": lambda: hf.Qwen2Config(**_QWEN2_HALF),
    "2b": lambda: hf.Qwen2Config(**_QWEN2_TWO),
}
_ENCODERS: dict[str, dict[str, Any]] = {
    "86m": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "400m": {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16},
}
SIDE_PX, PATCH_PX = 336, 14  # 576 image tokens


def llava(encoder: str, dtype: torch.dtype) -> Vlm:
    """LLaVA over SmolLM2-135M's shape and a SigLIP encoder of 86 or 400 million weights, with picturebook's words."""
    mend_torchvision()
    processor = hf.AutoProcessor.from_pretrained(BUILTIN / "picturebook", local_files_only=True)
    processor.patch_size = PATCH_PX
    processor.image_processor.size = {"height": SIDE_PX, "width": SIDE_PX}
    words = processor.tokenizer
    config = hf.LlavaConfig(
        vision_config=hf.SiglipVisionConfig(
            **_ENCODERS[encoder], image_size=SIDE_PX, patch_size=PATCH_PX, vision_use_head=False
        ),
        text_config=hf.LlamaConfig(**_SMOLLM2, eos_token_id=words.eos_token_id),
        image_token_index=words.convert_tokens_to_ids(processor.image_token),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    model = _filled(hf.LlavaForConditionalGeneration, config, dtype)
    return Vlm(model, processor, ModelInfo("bench", None, str(dtype).removeprefix("torch."), "cpu"))


def decoder_of(shape: str, dtype: torch.dtype) -> Any:
    """One of ``DECODERS``, a transformers model."""
    mend_torchvision()  # transformers' own modules import torchvision wherever it is installed
    config = DECODERS[shape]()
    model = _filled(hf.AutoModelForCausalLM._model_mapping[type(config)], config, dtype)
    model.tie_weights()
    return model


def save_decoder(folder: Path, layers: int = 30, width: int = 576) -> Path:
    """A text-only checkpoint in bfloat16 of SmolLM2's shape, or a wider one, with picturebook's words."""
    mend_torchvision()
    words = hf.AutoTokenizer.from_pretrained(BUILTIN / "picturebook", local_files_only=True)
    shape = {**_SMOLLM2, "num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 8 * width // 3}
    config = hf.LlamaConfig(**shape, eos_token_id=None)
    _filled(hf.LlamaForCausalLM, config, torch.bfloat16).save_pretrained(folder)
    words.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    words.save_pretrained(folder)
    return folder


def _filled(kind: Any, config: Any, dtype: torch.dtype) -> Any:
    """A model whose weights are one block of random numbers over and over: real ones take minutes to draw."""
    with no_init_weights():
        model = kind(config).to(dtype).eval()
    block = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).to(dtype) * 0.02
    for parameter in model.parameters():
        flat = parameter.data.view(-1)
        for start in range(0, len(flat), len(block)):
            part = flat[start : start + len(block)]
            part.copy_(block[: len(part)])
    return model


def question(seed: int = 0, text: str = "What colour is the star in the picture?") -> Prompt:
    """A picture of noise, and words about it."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (SIDE_PX, SIDE_PX, 3), generator=generator, dtype=torch.uint8)
    return Prompt((Message("user", text, images=1),), (Image.fromarray(pixels.numpy()),))
