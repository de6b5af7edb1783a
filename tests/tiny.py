"""Tiny random checkpoints in Hugging Face layout: each family's own classes, weights of a few hundred kilobytes.

Nothing is downloaded: the tokenizer is trained on the spot, the weights come from a seeded generator. They are large
enough (0.3 instead of 0.02) that an image changes the answer; with the usual initialisation it would drown.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from vlmcli.models.torchvision_shim import mend_torchvision

mend_torchvision()  # transformers' own modules import torchvision wherever it is installed
hf.utils.logging.disable_progress_bar()

CORPUS = (
    "The quick brown fox jumped over the lazy dog.",
    "What is in the image? There are two red circles left of a blue square.",
    "user assistant system: describe, answer, compare and count the pictures, please!",
    "a photo of a cat. a photo of a dog. a drawing of a house on a hill.",
)
CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE_SLOT{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
TEXT_CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
ENCODER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def picture(seed: int = 0, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """An RGB image of coloured rectangles; another seed is another image."""
    numbers = torch.randint(0, 256, (8, 3), generator=torch.Generator().manual_seed(seed)).tolist()
    image = Image.new("RGB", size, tuple(numbers[0]))
    draw = ImageDraw.Draw(image)
    for i, colour in enumerate(numbers[1:]):
        x, y = colour[0] % size[0], colour[1] % size[1]
        draw.rectangle((x // 2, y // 2, x, y), fill=tuple(colour), outline=(i * 30, 0, 0))
    return image


def tokenizer(
    *special: str, reads: tuple[str, ...] = ("input_ids", "attention_mask"), closed: bool = False, **named: str
) -> Any:
    """Byte-level BPE with ``<s>``, ``</s>`` and ``<pad>``; ``special`` and ``named`` (attribute=token) tokens added.

    ``reads`` is what the model takes of its output; ``closed`` texts end with ``</s>``.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<pad>", *special, *named.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if closed else "<s> $A", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_input_names=list(reads),
        extra_special_tokens=dict(named) if named else list(special),
    )


def fallback_tokenizer(kind: type[Any]) -> Any:
    """SentencePiece's way, for Gemma's tokenizer class and its kin: spaces as U+2581, unknown characters as bytes."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    core.normalizer = normalizers.Replace(" ", "\u2581")
    core.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=specials, show_progress=False)
    core.train_from_iterator([text.lower() for text in CORPUS], trainer)
    model = json.loads(core.to_str())["model"]
    return kind(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]], model_input_names=["input_ids"])


def save(folder: Path, model: Any, processor: Any, seed: int = 0, scale: float = 0.3) -> Path:
    """Give the model its weights and write everything that ``from_pretrained`` reads."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, scale, generator=generator)
            elif not name.startswith("logit_"):
                weight.add_(torch.empty_like(weight).normal_(0.0, 0.1, generator=generator))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def token_ids(tokens: Any) -> dict[str, Any]:
    """What a decoder's configuration says of its tokenizer."""
    return {
        "vocab_size": len(tokens),
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }


def llama(folder: Path) -> Path:
    """A text-only decoder with a chat template on its tokenizer."""
    tokens = tokenizer()
    tokens.chat_template = TEXT_CHAT
    return save(folder, hf.LlamaForCausalLM(hf.LlamaConfig(**DECODER, **token_ids(tokens))), tokens)


def llava(folder: Path) -> Path:
    """SigLIP encoder, MLP projector, Llama decoder: the shape of the embedded model."""
    tokens = tokenizer("<image>")
    config = hf.LlavaConfig(
        vision_config=hf.SiglipVisionConfig(**ENCODER, image_size=32, patch_size=8, vision_use_head=False),
        text_config=hf.LlamaConfig(**DECODER, **token_ids(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=16,
    )
    processor = hf.LlavaProcessor(
        hf.SiglipImageProcessor(size={"height": 32, "width": 32}),
        tokens,
        patch_size=8,
        vision_feature_select_strategy="full",
        chat_template=CHAT.replace("IMAGE_SLOT", "<image>\n"),
    )
    return save(folder, hf.LlavaForConditionalGeneration(config), processor)


def paligemma(folder: Path) -> Path:
    """Bidirectional attention over the prompt, no chat template, a processor that adds the slots itself."""
    tokens = tokenizer("<image>")
    images = hf.SiglipImageProcessor(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(images, tokens)
    ids = token_ids(tokens)
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(
            **ENCODER, image_size=32, patch_size=8, projection_dim=32, vision_use_head=False
        ),
        text_config=hf.GemmaConfig(**DECODER, **ids, head_dim=8),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
        eos_token_id=ids["eos_token_id"],
    )
    return save(folder, hf.PaliGemmaForConditionalGeneration(config), processor)


def qwen2_vl(folder: Path) -> Path:
    """Any resolution, three-dimensional rope whose offset lives on the model object."""
    tokens = tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    sizes = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 12}
    processor = hf.Qwen2VLProcessor(
        hf.Qwen2VLImageProcessor(size=sizes),
        tokens,
        hf.Qwen2VLVideoProcessor(size=sizes),
        chat_template=CHAT.replace("IMAGE_SLOT", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    ids = {name: tokens.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end")}
    config = hf.Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 14},
        text_config={
            **DECODER,
            **token_ids(tokens),
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        },
        image_token_id=tokens.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokens.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    return save(folder, hf.Qwen2VLForConditionalGeneration(config), processor)


def internvl(folder: Path) -> Path:
    """Tiles and a thumbnail, pixel shuffle, a Qwen2 decoder."""
    tokens = tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(size={"height": 32, "width": 32}, min_patches=1, max_patches=4),
        tokens,
        hf.InternVLVideoProcessor(size={"height": 32, "width": 32}),
        image_seq_length=4,
        chat_template=CHAT.replace("IMAGE_SLOT", "<IMG_CONTEXT>\n"),
    )
    config = hf.InternVLConfig(
        vision_config={**ENCODER, "image_size": [32, 32], "patch_size": [8, 8]},
        text_config=hf.Qwen2Config(**DECODER, **token_ids(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    return save(folder, hf.InternVLForConditionalGeneration(config), processor)


def idefics3(folder: Path) -> Path:
    """Tiles with row and column tokens between them, so the slots of one image are several runs."""
    rows = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    tokens = tokenizer("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *rows)
    processor = hf.Idefics3Processor(
        hf.Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        tokens,
        image_seq_len=4,
        chat_template=CHAT.replace("IMAGE_SLOT", "<image>"),
    )
    config = hf.Idefics3Config(
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8},
        text_config=hf.LlamaConfig(**DECODER, **token_ids(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    return save(folder, hf.Idefics3ForConditionalGeneration(config), processor)


def gemma3(folder: Path) -> Path:
    """Attention in both directions within an image, sliding windows, slots that are not the placeholder."""
    tokens = tokenizer(boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>")
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessor(size={"height": 32, "width": 32}, do_pan_and_scan=False),
        tokens,
        image_seq_length=4,
        chat_template=CHAT.replace("IMAGE_SLOT", "<start_of_image>"),
    )
    layers = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    config = hf.Gemma3Config(
        text_config={**DECODER, **token_ids(tokens), "head_dim": 8, **layers},
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8, "vision_use_head": False},
        mm_tokens_per_image=4,
        boi_token_index=tokens.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokens.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokens.convert_tokens_to_ids("<image_soft_token>"),
        eos_token_id=tokens.eos_token_id,
    )
    return save(folder, hf.Gemma3ForConditionalGeneration(config), processor)


def llava_next(folder: Path) -> Path:
    """AnyRes: a thumbnail and tiles, with a line-break feature after each row."""
    tokens = tokenizer("<image>")
    grids = [[32, 64], [64, 32], [64, 64]]
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**ENCODER, image_size=32, patch_size=8),
        text_config=hf.LlamaConfig(**DECODER, **token_ids(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grids,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    crop = {"height": 32, "width": 32}
    processor = hf.LlavaNextProcessor(
        hf.LlavaNextImageProcessor(size={"shortest_edge": 32}, crop_size=crop, image_grid_pinpoints=grids),
        tokens,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE_SLOT", "<image>\n"),
    )
    return save(folder, hf.LlavaNextForConditionalGeneration(config), processor, seed=1)


def mllama(folder: Path) -> Path:
    """Cross-attention: the image stands beside the text, not in it."""
    tokens = tokenizer("<|image|>")
    processor = hf.MllamaProcessor(
        hf.MllamaImageProcessor(size={"height": 32, "width": 32}, max_image_tiles=2),
        tokens,
        chat_template=CHAT.replace("IMAGE_SLOT", "<|image|>"),
    )
    config = hf.MllamaConfig(
        vision_config={
            **{key: value for key, value in ENCODER.items() if key != "num_attention_heads"},
            "num_global_layers": 1,
            "attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            "max_num_tiles": 2,
            "vision_output_dim": 64,
            "intermediate_layers_indices": [0],
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        },
        text_config={**DECODER, **token_ids(tokens), "num_hidden_layers": 3, "cross_attention_layers": [1]},
        image_token_index=tokens.convert_tokens_to_ids("<|image|>"),
    )
    return save(folder, hf.MllamaForConditionalGeneration(config), processor)


def _dual_text(tokens: Any) -> dict[str, Any]:
    return {**ENCODER, "max_position_embeddings": 24, **token_ids(tokens)}


def siglip(folder: Path) -> Path:
    """A sigmoid for each pair; texts padded to the full length, without an attention mask."""
    tokens = tokenizer(reads=("input_ids",), closed=True)
    config = hf.SiglipConfig(
        text_config={**_dual_text(tokens), "projection_size": 32},
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8},
    )
    processor = hf.SiglipProcessor(hf.SiglipImageProcessor(size={"height": 32, "width": 32}), tokens)
    return save(folder, hf.SiglipModel(config), processor, scale=0.15)


def siglip2(folder: Path) -> Path:
    """NaFlex: the image as a bag of patches with a mask."""
    tokens = fallback_tokenizer(hf.Siglip2Tokenizer)
    config = hf.Siglip2Config(
        text_config={**_dual_text(tokens), "projection_size": 32},
        vision_config={**ENCODER, "num_patches": 16, "patch_size": 16},
    )
    processor = hf.Siglip2Processor(hf.Siglip2ImageProcessor(patch_size=16, max_num_patches=256), tokens)
    return save(folder, hf.Siglip2Model(config), processor, scale=0.15)


def clip(folder: Path) -> Path:
    """A softmax over the texts, and no sigmoid."""
    tokens = tokenizer(closed=True)
    config = hf.CLIPConfig(
        text_config={**_dual_text(tokens), "projection_dim": 32},
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8, "projection_dim": 32},
        projection_dim=32,
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return save(folder, hf.CLIPModel(config), hf.CLIPProcessor(images, tokens), scale=0.15)


def vit(folder: Path) -> Path:
    """A classifier of five classes, three of which have a name."""
    config = hf.ViTConfig(**ENCODER, image_size=32, patch_size=8, num_labels=5)
    config.id2label = {0: "tench", 1: "goldfish", 2: "great white shark", 3: "LABEL_3", 4: "LABEL_4"}
    return save(folder, hf.ViTForImageClassification(config), hf.ViTImageProcessor(size={"height": 32, "width": 32}))


def convnext(folder: Path) -> Path:
    """A classifier without a token in it."""
    config = hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, patch_size=4, num_labels=7)
    processor = hf.ConvNextImageProcessor(size={"shortest_edge": 32})
    return save(folder, hf.ConvNextForImageClassification(config), processor)


def dinov2(folder: Path) -> Path:
    """A linear layer over the class token and the mean of the patches."""
    config = hf.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14, num_labels=6
    )
    processor = hf.BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
    return save(folder, hf.Dinov2ForImageClassification(config), processor)


GENERATORS: dict[str, Callable[[Path], Path]] = {
    "llama": llama,
    "llava": llava,
    "paligemma": paligemma,
    "qwen2_vl": qwen2_vl,
    "internvl": internvl,
    "idefics3": idefics3,
    "gemma3": gemma3,
    "llava_next": llava_next,
    "mllama": mllama,
}
DUALS: dict[str, Callable[[Path], Path]] = {"siglip": siglip, "siglip2": siglip2, "clip": clip}
CLASSIFIERS: dict[str, Callable[[Path], Path]] = {"vit": vit, "convnext": convnext, "dinov2": dinov2}
FAMILIES = {**GENERATORS, **DUALS, **CLASSIFIERS}
