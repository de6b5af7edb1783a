"""The tokenizer: byte-level BPE over the recipe's own sentences, shared by the decoder and the dual encoder."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from recipes.picturebook.captions import sample_caption
from recipes.picturebook.questions import sample_turns
from recipes.picturebook.scenes import sample_scene

BOS, PAD, END, USER, ASSISTANT, SYSTEM, IMAGE = (
    "<s>",
    "<pad>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<image>",
)
SPECIAL = (PAD, BOS, END, USER, ASSISTANT, SYSTEM, IMAGE)
VOCABULARY = 1280
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_QUOTED = re.compile(r'"([^"]+)"')


def corpus(examples: int = 12_000, seed: int = 77) -> Iterator[str]:
    """Sentences to learn the merges from; printed strings are left out, so that they stay single characters."""
    for index in range(examples):
        rng = random.Random(f"tokenizer-{seed}-{index}")
        scene = sample_scene(rng)
        for turn in sample_turns(rng, scene, 4):
            if turn.skill != "says":
                yield turn.question
            if turn.skill != "read":
                yield _QUOTED.sub("", turn.answer)
        yield sample_caption(rng, scene)


def build() -> PreTrainedTokenizerFast:
    """Train the tokenizer; the same corpus gives the same merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=8,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=END, pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM, IMAGE], extra_special_tokens={"image_token": IMAGE},
        chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False, model_max_length=512,
    )  # fmt: skip


def load_or_build(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of an interrupted run, whose weights belong to its ids; else a new one, kept there."""
    if not folder.exists():
        build().save_pretrained(folder)
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def for_dual(tokenizer: PreTrainedTokenizerFast, length: int) -> PreTrainedTokenizerFast:
    """The same vocabulary for the dual encoder: no chat, an end token after the text, SigLIP's fixed length."""
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    end = backend.token_to_id(END)
    backend.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, end)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False,
        model_max_length=length, padding_side="right", model_input_names=["input_ids"],
    )  # fmt: skip


def answer_ids(tokenizer: PreTrainedTokenizerFast, answer: str, spelled: bool) -> list[int]:
    """Token ids of an answer and its end; what was printed in the picture is spelled character by character."""
    pieces = list(answer) if spelled else [p for part in re.split(r'("[^"]+")', answer) for p in _pieces(part)]
    return [i for piece in pieces for i in tokenizer.encode(piece, add_special_tokens=False)] + [tokenizer.eos_token_id]


def _pieces(part: str) -> list[str]:
    return list(part) if part.startswith('"') else [part] * bool(part)
