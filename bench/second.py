"""The second question about an image: its features are known, and so is the beginning of the conversation."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench import shapes
from bench.report import Comparison, table
from vlmcli.engine.decode import decode
from vlmcli.inputs.chat import Prompt
from vlmcli.models.conversation import Conversation
from vlmcli.models.cpu.wide import imitates_bfloat16
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.models.features import FeatureStore
from vlmcli.types.chat import Message, Sampling


def run(rounds: int = 3) -> str:
    """The first question's time over the second's; each round has a picture of its own."""
    vlm = shapes.llava("400m", torch.float32 if imitates_bfloat16() else torch.bfloat16)
    first, other, turn = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        vlm.features = FeatureStore("bench", vlm.info, FeatureFiles(Path(folder)))
        _ms(vlm, shapes.question(99))
        for seed in range(rounds):
            conversation = Conversation(vlm)
            asked = shapes.question(seed)
            first.append(_ms(conversation, asked))
            other.append(_ms(vlm, shapes.question(seed, "Where is it?")))
            later = (*asked.messages, Message("assistant", "red"), Message("user", "Where is it?"))
            turn.append(_ms(conversation, Prompt(later, asked.images)))
    name = f"400M encoder, {vlm.info.dtype}"
    return table(
        [
            Comparison(f"another question about the image, {name}", tuple(other), tuple(first), at_least=3.0),
            Comparison(f"the next turn of a conversation, {name}", tuple(turn), tuple(first), at_least=3.0),
        ]
    )


def _ms(reader: Any, prompt: Prompt) -> float:
    """From the prompt to its first token."""
    vlm = reader._vlm if isinstance(reader, Conversation) else reader
    began = time.perf_counter()
    next(decode(reader, vlm.prepare(prompt), Sampling(max_tokens=2)))
    return 1000 * (time.perf_counter() - began)
