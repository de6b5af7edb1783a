"""Weights of eight and four bits: what they stand for, how near that is, and where they are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.cpu.decoders import DECODERS, as_vlm, make, prompt
from tests.models.cpu.test_steps import forced, greedy, ours, used
from vlmcli.errors import UsageError
from vlmcli.models.cpu.quantize import Kept, quantize_decoder
from vlmcli.models.cpu.quantized import QuantizedEmbedding, QuantizedLinear, fits, quantize, unpack
from vlmcli.models.cpu.tables import INT4, INT8, KINDS, Bits
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.types.result import ModelInfo

TOKENS = torch.randint(3, 300, (60,), generator=torch.Generator().manual_seed(2)).tolist()
FAMILIES = ["llama", "llama with biases", "llama, no size a multiple of 16", "qwen3", "gemma2", "phi3"]


def divergence(truth: torch.Tensor, other: torch.Tensor) -> float:
    """Mean Kullback-Leibler divergence of next-token distributions, in nats: logits [N, V] each."""
    p, q = truth.double().log_softmax(-1), other.double().log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_every_number_comes_back() -> None:
    """Numbers that need no rounding, so that only the order can be wrong."""
    whole = torch.randint(-8, 8, (48, 96), generator=torch.Generator().manual_seed(0))
    whole[:, ::32] = -8  # the largest of every group
    weights, scales = quantize(whole.float() * 0.5, INT4)
    assert torch.equal(unpack(weights, scales, torch.float32), whole * 0.5)
    whole = torch.randint(-127, 128, (48, 96))
    whole[:, 0] = 127
    layer = QuantizedLinear(INT8, *quantize(whole.float() * 0.25, INT8))
    assert torch.equal(layer.dequantized(torch.float32), whole * 0.25)
    assert not quantize(torch.zeros(16, 32), INT4)[1].isnan().any(), "a group of zeros has no scale"
    assert not fits(INT4, 40, 32) and not fits(INT4, 16, 40) and fits(INT8, 40, 40)


@pytest.mark.parametrize("bits", ["int8", "int4"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_step_reads_what_the_forward_reads(name: str, bits: Bits) -> None:
    """transformers' forward over the quantised layers is the oracle; int4 rounds values too, in groups of 32."""
    model = make(DECODERS[name][0], **DECODERS[name][1])
    exact = forced(as_vlm(model), prompt(), TOKENS)
    quantize_decoder(model, bits)
    reference = forced(as_vlm(model), prompt(), TOKENS)
    vlm = ours(model)
    logits = forced(vlm, prompt(), TOKENS)
    used(vlm)
    assert bits in vlm.steps.note or name == "llama, no size a multiple of 16"
    if "int4" in vlm.steps.note:
        assert divergence(reference, logits) <= 0.1 * divergence(exact, reference)
    else:
        assert (logits - reference).abs().max() <= 2e-4
    # Random weights of this size make much of a small difference; a real model's are in bench/quality.py.
    assert divergence(exact, logits) <= (1.5 if "int4" in vlm.steps.note else 0.01)


def test_a_tied_embedding_is_the_head_s_rows() -> None:
    model = make("LlamaConfig", tie_word_embeddings=True)
    weight = model.lm_head.weight.detach().clone()
    quantize_decoder(model, "int4")
    assert isinstance(model.get_input_embeddings(), QuantizedEmbedding)
    rows = model.get_input_embeddings()(torch.tensor([[3, 4]]))[0]
    assert (rows - weight[3:5]).abs().max() <= weight.abs().max() / 127
    held = sum(p.nbytes for p in model.parameters()) + sum(b.nbytes for b in model.buffers())
    assert held < 0.5 * weight.nbytes + 60_000, "float weights are still held"


def test_scores_and_answers_agree() -> None:
    """Prompts are read by the same numbers as answers are made with."""
    model = make("LlamaConfig")
    quantize_decoder(model, "int8")
    vlm = ours(model)
    said, logits = greedy(vlm, prompt(), 20)
    inputs = vlm.prepare(prompt())
    grown = replace(inputs, ids=(*inputs.ids, *said), is_image=(False,) * (len(inputs.ids) + len(said)))
    grown = replace(grown, tensors={"input_ids": torch.tensor([grown.ids])})
    (read,) = vlm.logits_at(grown, range(len(inputs.ids) - 1, len(grown.ids)))
    assert (read - logits).abs().max() <= 2e-4


def test_the_product_without_special_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older processors have no product of bytes: theirs gives the same whole numbers."""
    from vlmcli.models.cpu.compiled import lanes

    generator = np.random.default_rng(0)
    unsigned = generator.integers(0, 16, 64, np.uint8)
    signed = generator.integers(-127, 128, 64).astype(np.int8)
    unsigned[:8], signed[:8] = 15, -127
    expected = (unsigned.astype(int) * signed).reshape(16, 4).sum(1)
    for special in {lanes.VNNI, False}:
        monkeypatch.setattr(lanes, "VNNI", special)
        out = np.zeros(16, np.float32)

        @lanes.compiled()
        def product(u, s, o):  # type: ignore[no-untyped-def]
            total = lanes.dot_bytes(lanes.splat_word(0), lanes.load_words(u), lanes.load_words(s))
            lanes.store_f32(o, lanes.as_floats(total))

        product(unsigned.ctypes.data, signed.ctypes.data, out.ctypes.data)
        assert np.array_equal(out, expected)


def kept(folder: Path, weights: str = "one") -> Kept:
    return Kept(FeatureFiles(folder), weights, ModelInfo("tiny", "v1", "float32", "cpu"))


def answers(where: Kept, bits: Bits = "int4") -> list[int]:
    model = make("Qwen2Config")
    quantize_decoder(model, bits, where)
    return greedy(as_vlm(model), prompt("a cat"), 10)[0]


def test_they_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmcli.models.cpu import quantize as room

    first = answers(kept(tmp_path))
    (entry,) = FeatureFiles(tmp_path).listed().entries
    assert (entry.model, entry.revision, entry.dtype) == ("tiny", "v1", "int4")

    def refuse(*_: Any) -> None:
        raise AssertionError("made anew")

    with monkeypatch.context() as patch:
        patch.setattr(room, "quantize", refuse)
        assert answers(kept(tmp_path)) == first
    answers(kept(tmp_path), "int8")
    answers(kept(tmp_path, "two"))
    assert len(FeatureFiles(tmp_path).listed().entries) == 3, "other weights, or bits, are other files"


def test_a_damaged_file_and_a_full_disk(tmp_path: Path) -> None:
    first = answers(kept(tmp_path))
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    assert answers(kept(tmp_path)) == first and file.stat().st_size > 1000
    (tmp_path / "no folder").touch()
    assert answers(kept(tmp_path / "no folder")) == first
    off = Kept(FeatureFiles(tmp_path / "off", 0), "one", ModelInfo("tiny", None, "float32", "cpu"))
    assert answers(off) == first and not (tmp_path / "off").exists()


def test_the_user_s_folder(tmp_path: Path) -> None:
    environ = {"VLM_CACHE_DIR": str(tmp_path), "VLM_CONFIG_DIR": str(tmp_path)}
    assert FeatureFiles.of_weights(environ).folder == tmp_path / "quantized"
    with pytest.raises(UsageError, match="quantized_cache_mb"):
        FeatureFiles.of_weights({**environ, "VLM_QUANTIZED_CACHE_MB": "-1"})


def test_what_cannot_be_quantised_says_why() -> None:
    with pytest.raises(UsageError, match="'mixtral'"):
        quantize_decoder(make("MixtralConfig", num_local_experts=4), "int8")


def test_kinds_are_numbered_as_the_tables_say() -> None:
    assert [kind.number for kind in KINDS] == [0, 1, 2, 3]
