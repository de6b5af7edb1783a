"""Open-vocabulary detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from tests.tiny.parts import CORPUS, ENCODER, save

_PYRAMID: dict[str, Any] = {
    "model_type": "swin",
    "image_size": 64,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [2, 2, 2, 2],
    "window_size": 4,
    "out_indices": [2, 3, 4],
}
_TEXT_LIMIT = 16


def _ending_tokenizer() -> Any:
    """CLIP's way: the end of a text has the highest id, the start is not 0, and what fills up is an ordinary token."""
    trainer = trainers.BpeTrainer(
        vocab_size=390, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.train_from_iterator(CORPUS, trainer)
    core.add_special_tokens(["<s>", "</s>"])
    ends = [("<s>", core.token_to_id("<s>")), ("</s>", core.token_to_id("</s>"))]
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="!",
        model_max_length=_TEXT_LIMIT,
        model_input_names=["input_ids", "attention_mask"],
    )


def _word_tokenizer() -> Any:
    """BERT's way: words in small letters, a full stop of its own, ``[CLS]`` and ``[SEP]`` at the ids of BERT's."""
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    words = [word for word, _ in sorted(core.get_vocab().items(), key=lambda item: item[1])]
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
    plain = iter([word for word in words if word not in special])
    taken = set(special.values())
    free = (number for number in range(1, 1100) if number not in taken)
    vocabulary = special | dict(zip(plain, free, strict=False))
    return hf.BertTokenizer(vocab=vocabulary)


def _owl(folder: Path, name: str, processor: Any) -> Path:
    config = getattr(hf, f"{name}Config")(
        text_config={**ENCODER, "vocab_size": 400, "max_position_embeddings": _TEXT_LIMIT},
        vision_config={**ENCODER, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    return save(folder, getattr(hf, f"{name}ForObjectDetection")(config), processor)


def owlvit(folder: Path) -> Path:
    """A square picture whatever the image's shape; boxes relative to either side."""
    images = hf.OwlViTImageProcessor(size={"height": 64, "width": 64})
    return _owl(folder, "OwlViT", hf.OwlViTProcessor(images, _ending_tokenizer()))


def owlv2(folder: Path) -> Path:
    """Padded to a square on the right or at the bottom; boxes relative to that square."""
    images = hf.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    return _owl(folder, "Owlv2", hf.Owlv2Processor(images, _ending_tokenizer()))


def _dino(name: str) -> Any:
    """Labels joined into one text; a score for each of its tokens."""
    tokens = _word_tokenizer()
    config = getattr(hf, f"{name}Config")(
        backbone_config=_PYRAMID,
        text_config={**ENCODER, "model_type": "bert", "vocab_size": 1100, "max_position_embeddings": 64},
        d_model=32,
        num_queries=30,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_n_points=2,
        decoder_n_points=2,
        max_text_len=64,
        disable_custom_kernels=True,
    )
    images = hf.GroundingDinoImageProcessor(size={"shortest_edge": 48, "longest_edge": 80})
    return getattr(hf, f"{name}ForObjectDetection")(config), hf.GroundingDinoProcessor(images, tokens)


def grounding_dino(folder: Path) -> Path:
    """Labels joined into one text, each with a full stop; a score for each of its tokens."""
    return save(folder, *_dino("GroundingDino"), scale=0.15)


def mm_grounding_dino(folder: Path) -> Path:
    """The same with biases in the heads that compare."""
    return save(folder, *_dino("MMGroundingDino"), scale=0.15)


def omdet_turbo(folder: Path) -> Path:
    """Labels one by one beside a task in words; a score for each pair of box and label."""
    config = hf.OmDetTurboConfig(
        text_config={**ENCODER, "model_type": "clip_text_model", "vocab_size": 400, "max_position_embeddings": 77},
        backbone_config={**_PYRAMID},
        apply_layernorm_after_vision_backbone=False,
        encoder_in_channels=[16, 32, 64],
        encoder_hidden_dim=16,
        decoder_hidden_dim=16,
        vision_features_channels=[16, 16, 16],
        text_projection_in_dim=32,
        text_projection_out_dim=32,
        class_embed_dim=32,
        task_encoder_hidden_dim=64,
        encoder_dim_feedforward=64,
        decoder_dim_feedforward=64,
        encoder_attention_heads=4,
        decoder_num_heads=4,
        decoder_num_layers=2,
        num_queries=20,
        image_size=64,
        disable_custom_kernels=True,
    )
    images = hf.DetrImageProcessor(size={"height": 64, "width": 64}, do_pad=False)
    return save(folder, hf.OmDetTurboForObjectDetection(config), hf.OmDetTurboProcessor(images, _ending_tokenizer()))
