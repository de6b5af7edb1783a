"""From the names of a model's weights and its configuration to the boxes of the diagram.

No number of a weight is read, and but for one short table no family is named. A weight's name is read from left to
right, and the first component that says where it belongs decides: ``model.visual.blocks.0.attn`` is the encoder's. A
later one may still say that it is the projector's (``model.visual.merger``) or cross-attention. What nothing claims is
the decoder's. The same rules read the names that checkpoints give, which often differ from those of the modules.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmcli.types.inspect import Method, Part, PartRole, Stack
from vlmcli.weights.safetensors import Weight

_ORDER: tuple[PartRole, ...] = ("encoder", "projector", "text-encoder", "fusion", "decoder", "other")

# For one component of a name, the whole of it; the first that fits.
_WORDS: tuple[tuple[PartRole, re.Pattern[str]], ...] = (
    ("other", re.compile(r".*(audio|speech).*|generation_.*")),
    (
        "projector",
        re.compile(
            r".*(projector|connector|aligner|resampler(_model)?|perceiver|qformer)|mlp1|query_tokens|vision_adapter"
            r"|(visual|vision|text|language|image_to_text|mm)_proj(ection)?|(patch_|.*_)?merger_list|(patch_)?merger"
            r"|image_pooling.*|image_newline|view_sep[ae]rator|visual_embeddings_table|vision_embed_tokens|embed_vision"
        ),
    ),
    ("encoder", re.compile(r".*(vision|visual|image|video).*|vqmodel|vit")),
    ("fusion", re.compile(r"logit_(scale|bias)|temperature")),
    ("decoder", re.compile(r"(language|text)_(model|decoder)|llm|lm_head")),
)
_PROJECTOR = dict(_WORDS)["projector"]
_LOGIT_SCALE = re.compile(r"(.*\.)?(logit_scale|temperature)")
_CROSS_ATTENTION = re.compile(r".*cross_?att.*")
_SELF_ATTENTION = re.compile(r"(self_)?att(entio)?n")
_BLOCK_LIST = re.compile(r".*(layers?|blocks?)|h")

# Where a family means something else by a name: Janus draws with its VQ model, all others read with theirs.
_EXCEPTIONS: Mapping[str, Mapping[str, PartRole]] = {"janus": {"vqmodel": "other"}}

_VISION_CONFIGS = ("vision_config", "vq_config")
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight belongs, and the path of the module that said so."""

    role: PartRole
    module: str


def dissect(config: Any, weights: Sequence[Weight], stored: Sequence[Weight] = ()) -> tuple[Part, ...]:
    """The parts of a model, in the order of the diagram. Each of ``weights`` is in exactly one of them.

    Args:
        config: transformers' configuration, or anything that has ``vision_config`` and ``text_config`` of that kind.
        weights: every weight once, tied ones under one name; without any, the parts that ``config`` tells of.
        stored: the tensors in the checkpoint's files, whatever their names; they say how many bytes a part takes.
    """
    if not weights:
        return _outline(config)
    places, in_files = (assign((w.name for w in some), config) for some in (weights, stored))
    return tuple(
        _part(
            role,
            config,
            {w: places[w.name].module for w in weights if places[w.name].role == role},
            [w for w in stored if in_files[w.name].role == role],
        )
        for role in _ORDER
        if any(place.role == role for place in places.values())
    )


_FUSIONS: Mapping[str, Method] = {"concat": "A", "cross-attention": "B", "hybrid": "hybrid"}


def method(parts: Iterable[Part], config: Any = None) -> Method:
    """How an image reaches the text: as a composition's configuration says, else by which parts there are."""
    if (fusion := _value(config, "fusion")) in _FUSIONS:
        return _FUSIONS[fusion]
    roles = {part.role for part in parts}
    if "text-encoder" in roles:
        return "dual"
    if not roles & {"encoder", "projector"} or "decoder" not in roles:
        return "none"
    return "B" if "fusion" in roles else "A"


def assign(names: Iterable[str], config: Any) -> dict[str, Place]:
    """Each weight's place, by its name.

    A block of the decoder that attends to images and not to the text was added for them, and all of it is fusion
    (Flamingo, arXiv 2204.14198; Llama 3.2 Vision, 2024); in any other block the cross-attention alone is. Where a
    scale of logits says that two embeddings are compared (CLIP, arXiv 2103.00020), the decoder is a text encoder.
    """
    exceptions = _EXCEPTIONS.get(family(config), {})
    # What nothing claims is a decoder's, unless the model knows no words.
    rest: PartRole = "encoder" if text_config(config) is None else "decoder"
    places = {name: _place(name, exceptions, rest) for name in names}
    decoder = [name for name, place in places.items() if place.role == "decoder"]
    places |= {name: Place("fusion", module) for name, module in _cross_attention(decoder)}
    if any(_LOGIT_SCALE.fullmatch(name) for name in places):
        places |= {n: Place("text-encoder", p.module) for n, p in places.items() if p.role == "decoder"}
    return places


def block_list(names: Iterable[str], config: Any, role: PartRole = "decoder") -> str | None:
    """The path of the list of a part's transformer blocks, ``model.layers``: the one with most weights of the part."""
    places = assign(names, config)
    paths = (block for name, place in places.items() if place.role == role and (block := _block(name)))
    lists = Counter(path.rpartition(".")[0] for path in paths)
    return lists.most_common(1)[0][0] if lists else None


def family(config: Any) -> str:
    """What a configuration calls its architecture; a dash where it says nothing."""
    return str(_value(config, "model_type") or "-")


def vision_config(config: Any) -> Any:
    """The encoder's configuration, None where there is no encoder or nothing is said of it."""
    own = _value(config, *_VISION_CONFIGS)
    return config if own is None and text_config(config) is None else own


def text_config(config: Any) -> Any:
    """The configuration of the decoder or of the text encoder; None for a model that knows no words."""
    own = _value(config, *_TEXT_CONFIGS)
    return config if own is None and whole(config, "vocab_size") else own


def whole(config: Any, *names: str) -> int | None:
    """The first of a configuration's values that is a whole number above zero."""
    values = (_value(config, name) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), None)


def pair(config: Any, name: str) -> tuple[int, int] | None:
    """(width, height) from a value that is one number, or two with the height first."""
    value = _value(config, name)
    if isinstance(value, int) and value > 0:
        return value, value
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return int(value[1]), int(value[0])
    return None


def _place(name: str, exceptions: Mapping[str, PartRole], rest: PartRole) -> Place:
    components = name.split(".")
    for end, component in enumerate(components, start=1):
        role = exceptions.get(component) or _role(component)
        if role == "encoder":
            inner = next((i for i, c in enumerate(components[end:], end + 1) if _PROJECTOR.fullmatch(c)), None)
            return Place("projector" if inner else "encoder", ".".join(components[: inner or end]))
        if role:
            return Place(role, ".".join(components[:end]))
    modules = itertools.takewhile(lambda component: not component.isdigit(), components[:-1])
    return Place(rest, ".".join(itertools.islice(modules, 2)) or name)


def _role(component: str) -> PartRole | None:
    return next((role for role, words in _WORDS if words.fullmatch(component)), None)


def _cross_attention(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The weights among the decoder's that are there for images, each with the path of its module."""
    blocks = {name: _block(name) for name in names}
    modules = {name: name.removeprefix(f"{block}.").partition(".")[0] for name, block in blocks.items() if block}
    sees, reads = (
        {blocks[name] for name, module in modules.items() if words.fullmatch(module)}
        for words in (_CROSS_ATTENTION, _SELF_ATTENTION)
    )
    added = sees - reads
    for name, block in blocks.items():
        components = name.split(".")
        end = next((i for i, component in enumerate(components, 1) if _CROSS_ATTENTION.fullmatch(component)), None)
        if block and block in added:
            yield name, block
        elif end:
            yield name, ".".join(components[:end])


def _block(name: str) -> str | None:
    """The path of the transformer block that a weight is in: ``model.layers.7``."""
    components = name.split(".")
    for i, component in enumerate(components[1:], start=1):
        if component.isdigit():
            return ".".join(components[: i + 1]) if _BLOCK_LIST.fullmatch(components[i - 1]) else None
    return None


def _part(role: PartRole, config: Any, own: Mapping[Weight, str], stored: Sequence[Weight]) -> Part:
    parameters = sum(weight.elements for weight in own)
    dtype, size_bytes = _size(parameters, list(own), stored)
    modules = tuple(dict.fromkeys(own.values()))
    architecture, stack = _architecture(role, config, modules), _stack(role, config, list(own))
    return Part(role, architecture, modules, stack, parameters, size_bytes, dtype)


def _size(parameters: int, own: Sequence[Weight], stored: Sequence[Weight]) -> tuple[str, int]:
    """The format of most of a part, and the part's bytes.

    A file may hold tensors that the model does not use, or a tied one twice: then, its format is all that counts. Whole
    numbers are packed ones of a few bits, of which the file alone knows how many bytes they take.
    """
    kept = stored or own
    by_dtype = Counter[str]()
    for weight in kept:
        by_dtype[weight.dtype] += weight.size_bytes
    dtype = by_dtype.most_common(1)[0][0]
    kept_bytes, kept_elements = sum(by_dtype.values()), sum(weight.elements for weight in kept)
    if kept_elements == parameters or "int" in dtype:
        return dtype, kept_bytes
    alike = [weight for weight in kept if weight.dtype == dtype]
    return dtype, parameters * sum(weight.size_bytes for weight in alike) // sum(weight.elements for weight in alike)


def _architecture(role: PartRole, config: Any, modules: Sequence[str]) -> str:
    own = _config_of(role, config)
    if own is not None:
        return family(own)
    if role == "fusion" and any(_CROSS_ATTENTION.fullmatch(c) or c.isdigit() for m in modules for c in m.split(".")):
        return "cross-attention"
    return ", ".join(dict.fromkeys(module.rpartition(".")[2] for module in modules))


def _config_of(role: PartRole, config: Any) -> Any:
    if role == "encoder":
        return vision_config(config)
    return text_config(config) if role in ("decoder", "text-encoder") else None


def _stack(role: PartRole, config: Any, own: Sequence[Weight]) -> Stack:
    """The blocks are counted; the other figures are the configuration's."""
    blocks = len({block for weight in own if (block := _block(weight.name))})
    text = text_config(config)
    if role == "projector":
        matrices = sum(len(weight.shape) > 1 for weight in own)
        return Stack(blocks or matrices, whole(config, "projection_dim") or whole(text, "hidden_size"))
    if role == "fusion" and blocks:
        return _attention(text, blocks)
    return _attention(_config_of(role, config), blocks)


def _attention(config: Any, blocks: int) -> Stack:
    """What a configuration says of its blocks. An ``embed_dim`` beside a ``hidden_size`` is the width inside."""
    heads = whole(config, "num_attention_heads", "num_heads", "n_heads")
    return Stack(
        layers=blocks or whole(config, "num_hidden_layers", "depth", "num_layers"),
        width=whole(config, "embed_dim", "hidden_size", "d_model"),
        heads=heads,
        kv_heads=whole(config, "num_key_value_heads") or heads,
    )


def _outline(config: Any) -> tuple[Part, ...]:
    """The parts that a configuration tells of, without their sizes."""
    dtype = str(_value(config, "dtype") or "-").removeprefix("torch.")
    roles: tuple[PartRole, ...] = ("encoder", "decoder")
    return tuple(
        Part(role, family(own), (), _attention(own, 0), None, None, dtype)
        for role in roles
        if (own := _config_of(role, config)) is not None
    )


def _value(config: Any, *names: str) -> Any:
    """The first of a configuration's values that is set; one that differs from layer to layer raises, and is none."""
    for name in names:
        try:
            value = getattr(config, name, None)
        except RuntimeError:
            continue
        if value is not None:
            return value
    return None
