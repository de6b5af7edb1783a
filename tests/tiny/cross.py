"""Families whose images stand beside the text: cross-attention."""

from __future__ import annotations

from pathlib import Path

import transformers as hf

from tests.tiny.parts import ENCODER, chat, decoder, save, square, tokenizer


def mllama(folder: Path) -> Path:
    """Cross-attention: the image stands beside the text, not in it."""
    tokens = tokenizer("<|image|>")
    processor = hf.MllamaProcessor(
        square(hf.MllamaImageProcessor, max_image_tiles=2),
        tokens,
        chat_template=chat("<|image|>"),
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
        text_config=decoder(tokens, cross_attention_layers=[1]) | {"num_hidden_layers": 3},
        image_token_index=tokens.convert_tokens_to_ids("<|image|>"),
    )
    return save(folder, hf.MllamaForConditionalGeneration(config), processor)


def idefics(folder: Path) -> Path:
    """Gated cross-attention before every block; no chat template."""
    tokens = tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    tokens.chat_template = chat("<fake_token_around_image><image><fake_token_around_image>")
    config = hf.IdeficsConfig(
        **decoder(tokens),
        additional_vocab_size=0,
        use_resampler=False,
        cross_layer_interval=1,
        vision_config={
            "embed_dim": 32,
            "image_size": 32,
            "intermediate_size": 64,
            "patch_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
    )
    processor = hf.IdeficsProcessor(hf.IdeficsImageProcessor(image_size=32), tokens)
    return save(folder, hf.IdeficsForVisionText2Text(config), processor)
