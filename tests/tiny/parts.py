"""What the checkpoints of all families are made of: pictures, tokenizers, sizes, weights."""

from __future__ import annotations

import json
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
DECODER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
ENCODER: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


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


def prefixed_tokenizer(*words: str) -> Any:
    """Persimmon's way: a space before every text, and placeholders that are ordinary ``words``, not special tokens."""
    trained = json.loads(tokenizer(*words).backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in trained["merges"]]
    core = Tokenizer(models.BPE(trained["vocab"], merges, ignore_merges=True))
    core.normalizer = normalizers.Prepend(" ")
    splits = [pre_tokenizers.Split(word, "isolated") for word in words]
    core.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(False, use_regex=False)])
    core.decoder = decoders.ByteLevel()
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, **named)


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


def token_ids(tokens: Any) -> dict[str, Any]:
    """What a decoder's configuration says of its tokenizer."""
    return {
        "vocab_size": len(tokens),
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }


def decoder(tokens: Any, **more: Any) -> dict[str, Any]:
    """A decoder's configuration: two layers of width 32, and what it says of its tokenizer."""
    return {**DECODER, **token_ids(tokens), **more}


def square(kind: type[Any], **more: Any) -> Any:
    """An image processor whose pictures, or tiles, are 32 pixels wide and high."""
    return kind(size={"height": 32, "width": 32}, **more)


def chat(slot: str) -> str:
    """A chat template that writes ``slot`` for an image."""
    return CHAT.replace("IMAGE_SLOT", slot)


def save(folder: Path, model: Any, processor: Any, seed: int = 0, scale: float = 0.3) -> Path:
    """Give the model its weights and write everything that ``from_pretrained`` reads."""
    randomise(model, seed, scale)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def randomise(model: Any, seed: int = 0, scale: float = 0.3) -> None:
    """Weights of a seeded generator, with the standard deviation ``scale``; norms, biases and the like move by 0.1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, scale, generator=generator)
            elif not name.startswith("logit_"):
                weight.add_(torch.empty_like(weight).normal_(0.0, 0.1, generator=generator))
