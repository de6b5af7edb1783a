"""The detector's vocabulary: CLIP's kind of byte-pair encoding, learned from the labels themselves."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from recipes.picturebook.scenes import sample_scene
from recipes.shapes.phrases import sample_phrases, things_in

MERGES = 800  # at the most, bytes included
TEXT_LENGTH = 16  # tokens of a label, its start and its end included
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def corpus(examples: int = 3000, seed: int = 77) -> Iterator[str]:
    for index in range(examples):
        rng = random.Random(f"words-{seed}-{index}")
        yield from (phrase.text for phrase in sample_phrases(rng, things_in(sample_scene(rng)), 6))


def build() -> CLIPTokenizer:
    """Train the vocabulary; the same corpus gives the same merges.

    CLIP's order: every byte, every byte at the end of a word, merges, start, end: the end has the highest number.
    """
    empty = CLIPTokenizer().backend_tokenizer
    core = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    core.normalizer, core.pre_tokenizer = empty.normalizer, empty.pre_tokenizer
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())  # "!" is the first
    trainer = trainers.BpeTrainer(
        vocab_size=MERGES, initial_alphabet=bytes_, end_of_word_suffix=WORD_END, min_frequency=8, show_progress=False
    )
    core.train_from_iterator(corpus(), trainer)
    merges = [tuple(pair) for pair in json.loads(core.to_str())["model"]["merges"]]
    tokens = [*bytes_, *(b + WORD_END for b in bytes_), *("".join(pair) for pair in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocabulary, merges, pad_token=bytes_[0], model_max_length=TEXT_LENGTH)


def load_or_build(folder: Path) -> CLIPTokenizer:
    """The vocabulary of an interrupted run, whose weights belong to its numbers; else a new one, kept there."""
    if not folder.exists():
        build().save_pretrained(folder)
    tokens: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return tokens
