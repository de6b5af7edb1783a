"""Families in which every image becomes one square, and the same number of slots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf

from tests.tiny.parts import ENCODER, chat, decoder, save, square, tokenizer

SIGLIP = {**ENCODER, "image_size": 32, "patch_size": 8, "vision_use_head": False}
CLIP = {**ENCODER, "image_size": 32, "patch_size": 8}


def _llava(folder: Path, text: type[Any], **options: Any) -> Path:
    """SigLIP encoder, MLP projector, and a decoder of the kind ``text``."""
    tokens = tokenizer("<image>")
    config = hf.LlavaConfig(
        vision_config=hf.SiglipVisionConfig(**SIGLIP),
        text_config=text(**decoder(tokens, **options)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=16,
    )
    processor = hf.LlavaProcessor(
        square(hf.SiglipImageProcessor),
        tokens,
        patch_size=8,
        vision_feature_select_strategy="full",
        chat_template=chat("<image>\n"),
    )
    return save(folder, hf.LlavaForConditionalGeneration(config), processor)


def llava(folder: Path) -> Path:
    """The shape of the embedded model."""
    return _llava(folder, hf.LlamaConfig)


def llava_moe(folder: Path) -> Path:
    """MM1.5's shape: a mixture-of-experts decoder behind a plain projector."""
    return _llava(folder, hf.MixtralConfig, num_local_experts=4, num_experts_per_tok=2)


def vipllava(folder: Path) -> Path:
    """Features of several CLIP layers side by side; LLaVA's processor, which counts a class token."""
    tokens = tokenizer("<image>")
    config = hf.VipLlavaConfig(
        vision_config=hf.CLIPVisionConfig(**CLIP),
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=[-1, -2],
        image_seq_length=16,
    )
    processor = hf.LlavaProcessor(
        square(hf.SiglipImageProcessor),
        tokens,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>\n"),
    )
    return save(folder, hf.VipLlavaForConditionalGeneration(config), processor)


def video_llava(folder: Path) -> Path:
    """Pixels under a name of their own, a second encoder for videos."""
    tokens = tokenizer("<image>", "<video>")
    config = hf.VideoLlavaConfig(
        vision_config=hf.CLIPVisionConfig(**CLIP),
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-1,
    )
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    processor = hf.VideoLlavaProcessor(
        hf.VideoLlavaImageProcessor(**sizes),
        hf.VideoLlavaVideoProcessor(**sizes),
        tokens,
        patch_size=8,
        chat_template=chat("<image>\n"),
    )
    return save(folder, hf.VideoLlavaForConditionalGeneration(config), processor)


def paligemma(folder: Path) -> Path:
    """Bidirectional attention over the prompt, positions that begin at one, no chat template."""
    tokens = tokenizer("<image>")
    images = square(hf.SiglipImageProcessor)
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(images, tokens)
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**SIGLIP, projection_dim=32),
        text_config=hf.GemmaConfig(**decoder(tokens, head_dim=8)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
        eos_token_id=tokens.eos_token_id,
    )
    return save(folder, hf.PaliGemmaForConditionalGeneration(config), processor)


def gemma3(folder: Path) -> Path:
    """Attention in both directions within an image, sliding windows, slots that are not the placeholder."""
    tokens = tokenizer(boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>")
    processor = hf.Gemma3Processor(
        square(hf.Gemma3ImageProcessor, do_pan_and_scan=False),
        tokens,
        image_seq_length=4,
        chat_template=chat("<start_of_image>"),
    )
    layers = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    config = hf.Gemma3Config(
        text_config=decoder(tokens, head_dim=8, **layers),
        vision_config=SIGLIP,
        mm_tokens_per_image=4,
        boi_token_index=tokens.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokens.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokens.convert_tokens_to_ids("<image_soft_token>"),
        eos_token_id=tokens.eos_token_id,
        tie_word_embeddings=False,
    )
    return save(folder, hf.Gemma3ForConditionalGeneration(config), processor)


def aria(folder: Path) -> Path:
    """Learned queries stand for the patches; a decoder with routed and shared experts."""
    tokens = tokenizer(image_token="<|img|>")
    config = hf.AriaConfig(
        # The processor knows 490 and 980 pixels alone: few patches, for they are large.
        vision_config=hf.Idefics3VisionConfig(**ENCODER, image_size=980, patch_size=140),
        text_config=hf.AriaTextConfig(**decoder(tokens, moe_num_experts=4, moe_topk=2, moe_num_shared_experts=1)),
        projector_patch_to_query_dict={49: 4},
        image_token_index=tokens.convert_tokens_to_ids("<|img|>"),
    )
    processor = hf.AriaProcessor(
        hf.AriaImageProcessor(), tokens, chat_template=chat("<|img|>"), size_conversion={490: 4, 980: 4}
    )
    return save(folder, hf.AriaForConditionalGeneration(config), processor)


def janus(folder: Path) -> Path:
    """One encoder to understand images and another to draw them; only the first is used."""
    tokens = tokenizer(image_token="<image_placeholder>", boi_token="<begin_of_image>", eoi_token="<end_of_image>")
    sizes = {"image_size": 32, "patch_size": 8}
    config = hf.JanusConfig(
        vision_config={
            **{key: value for key, value in ENCODER.items() if key != "intermediate_size"},
            **sizes,
            "projection_dim": 32,
            "num_image_tokens": 16,
        },
        vq_config={
            "base_channels": 32,
            "channel_multiplier": [1, 1],
            "num_embeddings": 8,
            "latent_channels": 32,
            "projection_dim": 32,
            "image_token_embed_dim": 32,
            "num_res_blocks": 1,
        },
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image_placeholder>"),
    )
    processor = hf.JanusProcessor(
        square(hf.JanusImageProcessor), tokens, chat_template=chat("<image_placeholder>\n"), num_image_tokens=16
    )
    return save(folder, hf.JanusForConditionalGeneration(config), processor)


def deepseek_vl(folder: Path) -> Path:
    """SigLIP and an aligner of two layers; images on a grey square."""
    tokens = tokenizer(image_token="<image_placeholder>")
    config = hf.DeepseekVLConfig(
        vision_config=hf.SiglipVisionConfig(**SIGLIP),
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image_placeholder>"),
        tie_word_embeddings=False,
    )
    processor = hf.DeepseekVLProcessor(
        square(hf.DeepseekVLImageProcessor), tokens, chat_template=chat("<image_placeholder>"), num_image_tokens=16
    )
    return save(folder, hf.DeepseekVLForConditionalGeneration(config), processor)


def chameleon(folder: Path) -> Path:
    """Images become ids of a code book, in a square; the decoder never says an image's words."""
    codes = [f"IMGIMG{''.join(chr(ord('A') + int(digit)) for digit in str(i))}Z" for i in range(16)]
    tokens = tokenizer(*codes, image_token="<image>", boi_token="<racm3:break>", eoi_token="<eoss>")
    tokens.sep_token = "</s>"
    tokens.chat_template = chat("<image>")  # the processor keeps none
    config = hf.ChameleonConfig(
        **decoder(tokens),
        vocabulary_map=tokens.get_vocab(),
        vq_config={
            "num_embeddings": 16,
            "embed_dim": 32,
            "latent_channels": 32,
            "resolution": 32,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1],
            "num_res_blocks": 1,
        },
    )
    images = hf.ChameleonImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = hf.ChameleonProcessor(images, tokens, image_seq_length=16)
    return save(folder, hf.ChameleonForConditionalGeneration(config), processor)


def git(folder: Path) -> Path:
    """Image features stand before the text and have no slots in it; a captioner."""
    tokens = tokenizer()
    config = hf.GitConfig(**decoder(tokens), vision_config=CLIP)
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return save(folder, hf.GitForCausalLM(config), hf.GitProcessor(images, tokens))
