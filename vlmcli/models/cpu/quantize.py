"""A decoder's matrices as whole numbers of eight or four bits, made once and kept on disk.

int4 leaves the output head, and an embedding tied to it, at int8, as llama.cpp's Q4_0 files keep theirs finer: every
token goes through it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from vlmcli.errors import UsageError
from vlmcli.inputs.outputs import replacing
from vlmcli.models.cpu.quantized import QuantizedEmbedding, QuantizedLinear, fits, quantize
from vlmcli.models.cpu.spec import DecoderSpec, Undescribed
from vlmcli.models.cpu.steps import described
from vlmcli.models.cpu.tables import INT4, INT8, Bits, Kind
from vlmcli.models.feature_files import ABOUT, FeatureFiles
from vlmcli.types.result import ModelInfo

_VERSION = "1"  # of the layout: another one is made anew
_HEAD = "head"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where one model's quantised weights are kept; ``weights`` tells them from any other's (weights.fingerprint)."""

    files: FeatureFiles
    weights: str
    model: ModelInfo

    def read(self, bits: Bits) -> dict[str, Tensor] | None:
        """By name, mapped rather than read; None where there are none, or damaged ones, which are deleted."""
        path = self._path(bits)
        if self.files.limit_bytes == 0 or not path.is_file():
            return None
        try:
            tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError):
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return tensors

    def write(self, bits: Bits, tensors: dict[str, Tensor]) -> None:
        """Keep them; a disk that is full or cannot be written costs the next start its time."""
        size = sum(tensor.nbytes for tensor in tensors.values())
        if size > self.files.limit_bytes:
            return
        about = {"model": {"id": self.model.id, "revision": self.model.revision, "dtype": bits}}
        with suppress(OSError, safetensors.SafetensorError):
            self.files.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._path(bits)) as stream:
                safetensors.torch.save_file(tensors, stream.name, {ABOUT: json.dumps(about)})
            self.files.prune()

    def _path(self, bits: Bits) -> Any:
        key = hashlib.sha256(" ".join((self.weights, self.model.dtype, bits, _VERSION)).encode()).hexdigest()
        return self.files.folder / f"{key}.safetensors"


def quantize_decoder(model: Any, bits: Bits, kept: Kept | None = None) -> None:
    """Put quantised matrices in the place of a decoder's own, and of the head's. Raises UsageError where it cannot."""
    try:
        spec, decoder, head = described(model)
    except Undescribed as error:
        hint = "it is for decoders of Llama's shape on a CPU; leave --quantize out"
        raise UsageError(f"this model cannot be quantised: {error.message}", hint) from error
    wanted = _linears(decoder) | {_HEAD: head}
    kinds = _kinds(spec, _linears(decoder), INT4 if bits == "int4" else INT8) | {_HEAD: INT8}
    tensors = kept.read(bits) if kept else None
    if tensors is None or not _fit(tensors, wanted, kinds):
        tensors = {}
        for name, module in wanted.items():
            tensors[f"{name}.weights"], tensors[f"{name}.scales"] = quantize(module.weight, kinds[name])
        if kept:
            kept.write(bits, tensors)
    made = {
        name: QuantizedLinear(kinds[name], tensors[f"{name}.weights"], tensors[f"{name}.scales"], module.bias)
        for name, module in wanted.items()
    }
    _replace(model, decoder, made)


def _linears(decoder: nn.Module) -> dict[str, nn.Linear]:
    return {name: module for name, module in decoder.named_modules() if type(module) is nn.Linear}


def _kinds(spec: DecoderSpec, linears: Mapping[str, nn.Linear], kind: Kind) -> dict[str, Kind]:
    """int8 where a matrix, or a part of a fused one, has no whole blocks of int4; all matrices of a layer alike."""
    ends = (spec.heads * spec.head_width, spec.kv_heads * spec.head_width, spec.inner, spec.width)
    whole = all(end % 16 == 0 for end in ends)
    every = all(fits(kind, module.out_features, module.in_features) for module in linears.values())
    return dict.fromkeys(linears, kind if whole and every else INT8)


def _fit(tensors: dict[str, Tensor], wanted: Mapping[str, Any], kinds: Mapping[str, Kind]) -> bool:
    """Whether what was kept are this decoder's weights."""
    for name, module in wanted.items():
        weights, scales = tensors.get(f"{name}.weights"), tensors.get(f"{name}.scales")
        if weights is None or scales is None or weights.dtype != kinds[name].dtype:
            return False
        if weights.numel() * (2 if kinds[name] is INT4 else 1) != module.weight.numel():
            return False
    return True


def _replace(model: Any, decoder: nn.Module, made: dict[str, QuantizedLinear]) -> None:
    """Wherever they stand in the model; float weights that nothing else holds are gone then."""
    head = model.get_output_embeddings()
    embedding: Any = decoder.embed_tokens
    named = list(model.named_modules(remove_duplicate=False))
    for name, module in made.items():
        old = head if name == _HEAD else decoder.get_submodule(name)
        for place in [place for place, other in named if other is old]:
            model.set_submodule(place, module)
    if embedding.weight is head.weight:
        factor = getattr(embedding, "embed_scale", None)
        rows = QuantizedEmbedding(made[_HEAD], embedding.weight.dtype, factor)
        for place in [place for place, other in named if other is embedding]:
            model.set_submodule(place, rows)
