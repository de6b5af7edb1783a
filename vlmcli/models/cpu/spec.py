"""What a decoder computes, read from its configuration: everything that our own step needs to know about a family.

A family is a function here that reads its configuration; what it cannot describe exactly it refuses with a reason, and
transformers' own step is taken instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from vlmcli.errors import VlmError


class Undescribed(VlmError):
    """A decoder that our own step cannot compute exactly; the message says why. It never reaches a user as an error."""


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """A decoder of Llama's shape: blocks of attention and a gated feed-forward layer, each behind an RMS norm.

    ``norm_offset`` is added to the weights of the norms (1 in Gemma). ``sandwiched``: what attention and the
    feed-forward layer make is normed too before it is added. ``head_norms``: queries and keys are, head by head.
    ``fused``: one matrix makes queries, keys and values, and one gate and up. ``windows`` has for each layer how many
    positions it looks at, its own among them (0: all), ``ropes`` which of the rotary embeddings it uses: "" where there
    is one for all, else the layer's type. A cap of 0 is none.
    """

    decoder: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    epsilon: float
    scale: float
    activation: Literal["silu", "gelu_tanh"]
    windows: tuple[int, ...]
    ropes: tuple[str, ...]
    norm_offset: float = 0.0
    sandwiched: bool = False
    head_norms: bool = False
    fused: bool = False
    score_cap: float = 0.0
    logit_cap: float = 0.0


_ACTIVATIONS: dict[str, Literal["silu", "gelu_tanh"]] = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
}

# Their frequencies never change with the length of the text.
_STEADY_ROPES = ("default", "linear", "llama3", "yarn")


def describe(config: Any) -> DecoderSpec:
    """The spec of a text decoder's configuration. Raises Undescribed."""
    reader = _READERS.get(config.model_type)
    if reader is None:
        raise Undescribed(f"decoders of type {config.model_type!r} are not among {', '.join(_READERS)}")
    spec = reader(config)
    if getattr(config, "use_bidirectional_attention", None) and any(spec.windows):
        raise Undescribed("its sliding windows reach in both directions")  # without: the last token sees all, as ever
    return spec


def _common(config: Any, decoder: str, **more: Any) -> DecoderSpec:
    """What all families say in the same words."""
    activation = getattr(config, "hidden_activation", None) or config.hidden_act
    if activation not in _ACTIVATIONS:
        raise Undescribed(f"its activation is {activation!r}")
    heads = config.num_attention_heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
    layers = config.num_hidden_layers
    ropes = more.pop("ropes", ("",) * layers)
    for name in sorted(set(ropes)):
        _check_rope(config.rope_parameters[name] if name else config.rope_parameters)
    return DecoderSpec(
        decoder=decoder,
        layers=layers,
        width=config.hidden_size,
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head_width=head_width,
        inner=config.intermediate_size,
        vocabulary=config.vocab_size,
        epsilon=config.rms_norm_eps,
        activation=_ACTIVATIONS[activation],
        ropes=ropes,
        windows=more.pop("windows", (0,) * layers),
        **{"scale": head_width**-0.5} | more,
    )


def _check_rope(parameters: Any) -> None:
    kind = parameters["rope_type"]
    if kind not in _STEADY_ROPES:
        raise Undescribed(f"its rotary embedding is of type {kind!r}, which changes with the length of the text")


def _windows(config: Any) -> tuple[int, ...]:
    """For each layer, by its type where layers differ in that, else one for all."""
    window = int(getattr(config, "sliding_window", None) or 0)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return (window,) * int(config.num_hidden_layers)
    if unknown := set(kinds) - {"full_attention", "sliding_attention"}:
        raise Undescribed(f"it has layers of type {sorted(unknown)[0]!r}")
    return tuple(window if kind == "sliding_attention" else 0 for kind in kinds)


def _llama(config: Any) -> DecoderSpec:
    return _common(config, "LlamaModel")


def _mistral(config: Any) -> DecoderSpec:
    return _common(config, "MistralModel", windows=_windows(config))


def _qwen2(config: Any) -> DecoderSpec:
    return _common(config, "Qwen2Model", windows=_windows(config))


def _qwen2_vl(config: Any) -> DecoderSpec:
    """Its three rotary positions are one for text, and only text is generated."""
    decoder = {"qwen2_vl_text": "Qwen2VLTextModel", "qwen2_5_vl_text": "Qwen2_5_VLTextModel"}[config.model_type]
    return _common(config, decoder, windows=_windows(config))


def _qwen3(config: Any) -> DecoderSpec:
    return _common(config, "Qwen3Model", windows=_windows(config), head_norms=True)


def _phi3(config: Any) -> DecoderSpec:
    return _common(config, "Phi3Model", windows=_windows(config), fused=True)


def _gemma(config: Any) -> DecoderSpec:
    return _common(config, "GemmaModel", norm_offset=1.0)


def _gemma2(config: Any, decoder: str = "Gemma2Model", **more: Any) -> DecoderSpec:
    return _common(
        config,
        decoder,
        norm_offset=1.0,
        sandwiched=True,
        windows=_windows(config),
        scale=config.query_pre_attn_scalar**-0.5,
        score_cap=config.attn_logit_softcapping or 0.0,
        logit_cap=config.final_logit_softcapping or 0.0,
        **more,
    )


def _gemma3(config: Any) -> DecoderSpec:
    return _gemma2(config, "Gemma3TextModel", head_norms=True, ropes=tuple(config.layer_types))


_READERS: dict[str, Callable[[Any], DecoderSpec]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen2_vl_text": _qwen2_vl,
    "qwen2_5_vl_text": _qwen2_vl,
    "qwen3": _qwen3,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "phi3": _phi3,
}
