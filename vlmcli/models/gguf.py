"""A GGUF file -> a decoder and its tokenizer, through transformers, which unpacks quantised weights as it loads them.

What transformers' loader would leave out without a word (rope factors, biases, a tokenizer's own way of splitting text)
is put back here, or is an error: an answer must not be wrong in silence.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Regex, Tokenizer, pre_tokenizers

from vlmcli.errors import ModelError, first_line
from vlmcli.weights.gguf import GgufHeader, check_gguf

_LOCAL: dict[str, bool] = {"local_files_only": True, "trust_remote_code": False}
_ROPE_FACTORS = "rope_freqs.weight"  # what Llama 3.1 and later divide their rope frequencies by
_SAFETENSORS = "load the same model's safetensors checkpoint instead"

# Pre-tokenizers by llama.cpp's names that are GPT-2's, which transformers takes for every name it does not know, ...
_AS_GPT2 = frozenset({"gpt-2", "default", "phi-2", "olmo", "mpt", "jais", "trillion", "jina-es", "jina-de", "mellum"})
# ... and those that split digits off one by one before.
_SINGLE_DIGITS = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})


def load_gguf(folder: Path, name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Load the file ``name`` in ``folder``: a causal LM of ``dtype`` on the CPU, in eval mode, and its tokenizer.

    Raises ModelError for a damaged file, for an architecture or a tokenizer that transformers does not read, and where
    the file's tensors and the model's parameters do not match one to one.
    """
    file = folder / name
    header = check_gguf(file)
    with _transformers_tamed():
        config = _config(file, header)
        tokenizer = _tokenizer(file, header)
        model = _model(file, header, config, dtype)
    return model, tokenizer


def load_gguf_tokenizer(folder: Path, name: str) -> Any:
    """The tokenizer in the file ``name`` alone. Raises ModelError."""
    file = folder / name
    with _transformers_tamed():
        return _tokenizer(file, check_gguf(file))


def outline_gguf(folder: Path, name: str) -> tuple[Any, Any]:
    """The configuration in the file ``name``, and the model of it on the meta device. Raises ModelError."""
    file = folder / name
    header = check_gguf(file)
    with _transformers_tamed():
        config = _config(file, header)
    with torch.device("meta"):
        return config, transformers.AutoModelForCausalLM.from_config(config).eval()


def _config(file: Path, header: GgufHeader) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(file.parent, gguf_file=file.name, **_LOCAL)
    except (ValueError, KeyError) as error:
        raise ModelError(
            f"{file} is of the architecture {header.architecture!r}, which transformers reads from no GGUF file: "
            f"{first_line(error)}",
            _SAFETENSORS,
        ) from error
    scaling = header.values.get(f"{header.architecture}.rope.scaling.type", "none")
    if scaling != "none" and getattr(config, "rope_parameters", {}).get("rope_type", "default") == "default":
        raise ModelError(f"{file} scales its rope ({scaling}), which transformers leaves out", _SAFETENSORS)
    return config


def _tokenizer(file: Path, header: GgufHeader) -> Any:
    """The file's own tokenizer, whatever else stands in its folder."""
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    architecture, content, settings = get_gguf_tokenizer(str(file))
    core = _without_strangers(convert_gguf_tokenizer(architecture, content)[0], len(content["tokens"]))
    splits = content.get("pre_tokenizer_type", "default")
    if splits in _SINGLE_DIGITS:
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif content["tokenizer_type"] == "gpt2" and splits not in _AS_GPT2 | set(GGUF_PRE_TOKENIZER_SPLITS):
        raise ModelError(f"{file} splits text as {splits!r}, and how that goes is not known here", _SAFETENSORS)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **settings)


def _without_strangers(core: Tokenizer, size: int) -> Tokenizer:
    """Drop the special tokens of the class that was borrowed (GPT-2's): the model has no embedding for their ids."""
    if core.get_vocab_size() <= size:
        return core
    state = json.loads(core.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < size]
    return Tokenizer.from_str(json.dumps(state))


def _model(file: Path, header: GgufHeader, config: Any, dtype: torch.dtype) -> Any:
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent,
        config=config,
        gguf_file=file.name,
        dtype=dtype,
        quantization_config=transformers.GgufConfig(dequantize=True),
        output_loading_info=True,
        **_LOCAL,
    )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"{file} lacks {len(missing)} of the weights that its architecture needs: {missing[0]}")
    if unused := sorted(_unused(model, header) | set(report["unexpected_keys"])):
        raise ModelError(f"{file} holds weights that transformers has no place for: {unused[0]}", _SAFETENSORS)
    _apply_rope_factors(model, file, header)
    return model.eval()


def _unused(model: Any, header: GgufHeader) -> set[str]:
    """Tensors that the loader skips without a word."""
    from transformers import modeling_gguf_pytorch_utils as legacy
    from transformers.integrations.gguf.utils import is_gguf_arch_supported

    names = {tensor.name for tensor in header.tensors} - {_ROPE_FACTORS}
    if is_gguf_arch_supported(header.architecture):
        return set()  # this loader reports them itself
    kind = legacy.TENSOR_PROCESSORS.get(header.architecture, legacy.TensorProcessor)
    return names - set(legacy.get_gguf_hf_weights_map(model, kind(config=model.config.to_dict())))


def _apply_rope_factors(model: Any, file: Path, header: GgufHeader) -> None:
    """Divide the rope frequencies [head width / 2] by the file's factors, as llama.cpp does."""
    tensor = next((tensor for tensor in header.tensors if tensor.name == _ROPE_FACTORS), None)
    if tensor is None:
        return
    rotary = getattr(model.base_model, "rotary_emb", None)
    if tensor.type != 0 or rotary is None or rotary.inv_freq.shape != tensor.shape:
        raise ModelError(f"{file} has rope factors that transformers has no place for", _SAFETENSORS)
    start = header.data_start + tensor.offset
    factors = np.fromfile(file, dtype="<f4", count=tensor.shape[0], offset=start)
    rotary.inv_freq /= torch.from_numpy(factors)


@contextmanager
def _transformers_tamed() -> Iterator[None]:
    """What transformers and gguf do too often while they load, or should not do at all."""
    import gguf
    from transformers.integrations.gguf import kernels

    with (
        redirect_stderr(io.StringIO()),  # a progress bar that nothing switches off
        _replaced(kernels, "is_kernels_available", lambda: False),  # else compiled code of the hub is fetched and run
        _replaced(gguf, "GGUFReader", functools.cache(gguf.GGUFReader)),  # seconds, and it is read for each question
        _replaced(gguf, "get_tensor_name_map", functools.cache(gguf.get_tensor_name_map)),  # made for every module
    ):
        yield


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)
