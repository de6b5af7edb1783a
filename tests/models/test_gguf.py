"""GGUF files: the same probabilities as transformers' model of the same weights, or one line that says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from tests import tiny, tiny_gguf
from vlmcli.errors import ModelError
from vlmcli.models.load import load
from vlmcli.weights.resolve import Checkpoint

TEXTS = (*tiny.CORPUS, "user: hello</s> there", "1.  two\n\n34")
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@pytest.fixture
def written(checkpoint: Callable[[str], Checkpoint], tmp_path: Path) -> Callable[..., Any]:
    """``written(**options)``: the transformers model that m.gguf in ``tmp_path`` now equals."""
    return lambda **options: tiny_gguf.llama(tmp_path / "m.gguf", checkpoint("llama").folder, **options)


def loaded(folder: Path, **options: Any) -> Any:
    return load(Checkpoint(folder, "m", None, None, gguf="m.gguf"), device="cpu", **options)


@torch.no_grad()
def probabilities(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model(ids).logits[0].softmax(-1)  # type: ignore[no-any-return]  # [T, V]


@pytest.mark.parametrize("quantised", [False, True], ids=["float32", "q4_1"])
def test_the_same_probabilities_as_transformers(written: Any, tmp_path: Path, quantised: bool) -> None:
    model = written(quantised=quantised)
    ours = loaded(tmp_path)
    ids = torch.arange(5, 45)[None]  # [1, T]
    assert (probabilities(ours.model, ids) - probabilities(model, ids)).abs().max() < 1e-5
    assert ours.model.dtype == torch.float32 and not ours.model.training and not ours.sees


def test_the_tokenizer_is_the_one_that_was_written(written: Any, checkpoint: Any, tmp_path: Path) -> None:
    written()
    ours, own = loaded(tmp_path), hf.AutoTokenizer.from_pretrained(checkpoint("llama").folder)
    for text in TEXTS:
        assert ours.tokenizer(text).input_ids == own(text).input_ids, text
    assert len(ours.tokenizer) == len(own)
    assert ours.tokenizer.chat_template == own.chat_template and ours.has_template
    assert ours.eos_ids == {own.eos_token_id}


def test_what_stands_beside_the_file_does_not_matter(written: Any, checkpoint: Any, tmp_path: Path) -> None:
    """A folder of downloads may hold another model's tokenizer and configuration."""
    written()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json"):
        (tmp_path / name).write_text("{}")
    text = tiny.CORPUS[0]
    own = hf.AutoTokenizer.from_pretrained(checkpoint("llama").folder)
    assert loaded(tmp_path).tokenizer(text).input_ids == own(text).input_ids


def test_digits_are_split_one_by_one_where_the_file_says_so(written: Any, tmp_path: Path) -> None:
    """Else blank lines before a list's next number would be other tokens than in training."""
    pieces = {}
    for splits in ("gpt-2", "smollm"):
        written(splits=splits)
        core = loaded(tmp_path).tokenizer.backend_tokenizer
        pieces[splits] = [piece for piece, _ in core.pre_tokenizer.pre_tokenize_str("a\n\n12")]
    assert pieces == {"gpt-2": ["a", "Ċ", "Ċ", "12"], "smollm": ["a", "ĊĊ", "1", "2"]}


def test_rope_factors_are_applied(written: Any, checkpoint: Any, tmp_path: Path) -> None:
    """Llama 3.1 and later: transformers' loader drops them, and long prompts would be read wrongly."""
    config = hf.LlamaConfig.from_pretrained(checkpoint("llama").folder)
    plain = hf.models.llama.modeling_llama.LlamaRotaryEmbedding(config).inv_freq
    config.rope_parameters = LLAMA3
    scaled = hf.models.llama.modeling_llama.LlamaRotaryEmbedding(config).inv_freq
    factors = (plain / scaled).numpy().astype(np.float32)
    assert factors.max() > 2
    unscaled = written(change=lambda writer, tensors: tensors.update({"rope_freqs.weight": factors}))
    model = hf.LlamaForCausalLM.from_pretrained(checkpoint("llama").folder, config=config).eval()
    ids = torch.arange(5, 205)[None]  # [1, T]
    ours = probabilities(loaded(tmp_path).model, ids)
    assert (ours - probabilities(model, ids)).abs().max() < 1e-5
    assert (ours - probabilities(unscaled, ids)).abs().max() > 1e-3


def test_dtype(written: Any, tmp_path: Path) -> None:
    written(quantised=True)
    vlm = loaded(tmp_path, dtype="bfloat16")
    assert vlm.info.dtype == "bfloat16" and vlm.model.dtype == torch.bfloat16


def test_loading_writes_nothing_to_the_terminal(
    written: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    written()
    capfd.readouterr()
    loaded(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"architecture": "nonesuch"}, "architecture 'nonesuch'"),
        ({"architecture": "clip"}, "architecture 'clip'"),
        ({"splits": "nonesuch"}, "splits text as 'nonesuch'"),
        ({"change": lambda writer, tensors: tensors.pop("blk.1.attn_q.weight")}, r"lacks 1 of the weights.*q_proj"),
        (
            {"change": lambda writer, tensors: tensors.update({"blk.0.attn_q.bias": np.ones(32, np.float32)})},
            r"no place for: blk\.0\.attn_q\.bias",
        ),
        (
            {"change": lambda writer, tensors: tensors.update({"rope_freqs.weight": np.ones(3, np.float32)})},
            "rope factors",
        ),
        ({"change": lambda writer, tensors: writer.add_string("llama.rope.scaling.type", "yarn")}, r"rope \(yarn\)"),
    ],
    ids=["architecture", "projector", "splits", "missing", "unused", "rope-factors", "rope-scaling"],
)
def test_what_would_be_answered_wrongly_is_one_line(
    options: dict[str, Any], says: str, written: Any, tmp_path: Path
) -> None:
    written(**options)
    with pytest.raises(ModelError, match=says) as caught:
        loaded(tmp_path)
    assert "\n" not in caught.value.message
    assert str(tmp_path / "m.gguf") in caught.value.message
