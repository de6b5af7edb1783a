"""The parts that models.toml names for a composition -> one model.

A part comes from a checkpoint of its own or out of a bigger one, and a projector also from a safetensors file: the
tensors below ``projector.`` are the projector's, those below ``cross_attention.`` the gated layers'. What has no
weights starts random, and the model says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import transformers
from torch import Tensor, nn

from vlmcli.catalog import CompositionSpec
from vlmcli.errors import ModelError
from vlmcli.inputs.composed import SLOT, ComposedProcessor
from vlmcli.models import projector as projectors
from vlmcli.models.composition import Composition
from vlmcli.models.encoder import Encoder, Patches
from vlmcli.models.fusion import CrossAttention
from vlmcli.models.gguf import load_gguf, load_gguf_tokenizer, outline_gguf
from vlmcli.weights.resolve import Checkpoint

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_UNUSED = ("pooler", "classifier", "head", "mask_token")  # of an encoder: a composition never reads them
RANDOM = "random"
"""The key in a safetensors file's metadata that names the parts whose weights are still those that chance gave."""

_CALLED = {"projector": "the projector", "cross_attention": "the cross-attention"}


def assemble(
    spec: CompositionSpec, parts: Mapping[str, Checkpoint], dtype: torch.dtype, *, seed: int = 0, weights: bool = True
) -> tuple[Composition, ComposedProcessor]:
    """Load the parts and join them.

    Args:
        spec: what the catalogue says.
        parts: the checkpoints of ``vision``, ``decoder`` and ``projector``, as far as the spec names any.
        dtype: of all parts.
        seed: of what has no weights.
        weights: False leaves everything on torch's meta device: shapes without numbers.

    Returns the model in eval mode, and its processor.
    Raises ModelError for parts that are missing or do not fit.
    """
    wholes = _Wholes(dtype, weights)
    decoder, tokenizer, slot = _decoder(wholes, parts["decoder"])
    encoder, image_processor = _encoder(wholes, spec, parts.get("vision"))
    width = int(decoder.config.hidden_size)
    with torch.random.fork_rng(devices=[]), wholes.device:
        torch.manual_seed(seed)
        projector, cross, random = _between(wholes, spec, parts.get("projector"), encoder, decoder)
    per_crop = projector.tokens(encoder.tokens)  # type: ignore[operator]
    slots = {"concat": lambda crops: crops * per_crop, "hybrid": lambda crops: per_crop, "cross-attention": None}
    processor = ComposedProcessor(tokenizer, image_processor, encoder.side_px, slots[spec.fusion], slot, spec.tiles)
    model = Composition(encoder, projector, decoder, spec.fusion, cross, processor.image_token_id, random)
    _check_widths(projector, encoder, width)
    return model.to(dtype).eval(), processor


def notes(model: Composition) -> tuple[str, ...]:
    """What the user has to know at every run."""
    return tuple(f"{_CALLED[name]} is random: it has not been trained" for name in model.random)


def save_between(model: Composition, file: Path, random: Sequence[str] = ()) -> None:
    """Write projector and gated layers as one safetensors file: under another name first, then in its place.

    ``random`` names those of them (``projector``, ``cross_attention``) that have not been trained. Raises OSError.
    """
    tensors = {f"projector.{name}": value.contiguous() for name, value in model.projector.state_dict().items()}
    if model.cross_attention is not None:
        tensors |= {
            f"cross_attention.{name}": value.contiguous() for name, value in model.cross_attention.state_dict().items()
        }
    part = file.with_name(file.name + ".part")
    try:
        part.write_bytes(safetensors.torch.save(tensors, metadata={RANDOM: " ".join(random)}))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


class _Wholes:
    """Checkpoints that parts are taken from: three parts of one checkpoint are read once."""

    def __init__(self, dtype: torch.dtype, weights: bool) -> None:
        self.dtype, self.weights = dtype, weights
        self.device = torch.device("cpu" if weights else "meta")
        self._loaded: dict[Path, Any] = {}

    def load(self, checkpoint: Checkpoint, auto: Any) -> Any:
        if checkpoint.folder not in self._loaded and not self.weights:
            config = transformers.AutoConfig.from_pretrained(checkpoint.folder, **_LOCAL)
            with self.device:
                self._loaded[checkpoint.folder] = auto.from_config(config, dtype=self.dtype)
        if checkpoint.folder not in self._loaded:
            model, report = auto.from_pretrained(
                checkpoint.folder, dtype=self.dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
            )
            missing = [key for key in sorted(report["missing_keys"]) if not any(word in key for word in _UNUSED)]
            if missing:
                raise ModelError(f"{checkpoint.id} lacks weights that its config.json asks for: {missing[0]}")
            self._loaded[checkpoint.folder] = model
        return self._loaded[checkpoint.folder]

    def of(self, checkpoint: Checkpoint) -> Any:
        """The model in a checkpoint: an image-text model if it is one, else whatever it is."""
        config = transformers.AutoConfig.from_pretrained(checkpoint.folder, **_LOCAL)
        names = transformers.models.auto.modeling_auto
        if config.model_type in names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            return self.load(checkpoint, transformers.AutoModelForImageTextToText)
        if config.model_type in names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return self.load(checkpoint, transformers.AutoModelForCausalLM)
        return self.load(checkpoint, transformers.AutoModel)


def _encoder(wholes: _Wholes, spec: CompositionSpec, checkpoint: Checkpoint | None) -> tuple[Encoder | Patches, Any]:
    """The vision part and its image processor."""
    options = spec.vision.options
    if checkpoint is None:
        patches = Patches(int(options["patch_px"]), int(options["side_px"]))
        size = {"height": patches.side_px, "width": patches.side_px}
        return patches, transformers.ViTImageProcessor(size=size, resample=3)
    whole = wholes.of(checkpoint)
    tower = whole.get_encoder(modality="image")
    if not hasattr(tower.config, "patch_size"):
        raise ModelError(f"{checkpoint.id} has no vision encoder that cuts pictures into patches")
    layer = options.get("layer", getattr(whole.config, "vision_feature_layer", None))
    return Encoder(tower, layer), _image_processor(checkpoint)


def _image_processor(checkpoint: Checkpoint) -> Any:
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint.folder, **_LOCAL)
    if hasattr(processor, "crop_to_patches"):
        processor.crop_to_patches = False  # tiles are the composition's own affair
    return processor


def _decoder(wholes: _Wholes, checkpoint: Checkpoint) -> tuple[Any, Any, str]:
    """The causal language model, its tokenizer and its slot, from a text-only checkpoint or an image-text model."""
    if checkpoint.gguf and not wholes.weights:
        tokenizer = load_gguf_tokenizer(checkpoint.folder, checkpoint.gguf)
        return outline_gguf(checkpoint.folder, checkpoint.gguf)[1], tokenizer, SLOT
    if checkpoint.gguf:
        return *load_gguf(checkpoint.folder, checkpoint.gguf, wholes.dtype), SLOT
    whole = wholes.of(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint.folder, **_LOCAL)
    text_config = whole.config.get_text_config()
    if text_config is whole.config:
        return whole, tokenizer, SLOT
    if text_config.model_type not in transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(f"the decoder of {checkpoint.id} ({text_config.model_type}) does not work on its own")
    with torch.device("meta"):
        decoder = transformers.AutoModelForCausalLM.from_config(text_config)
    setattr(decoder, decoder.base_model_prefix, whole.get_decoder())
    decoder.set_output_embeddings(whole.get_output_embeddings())
    decoder.generation_config = whole.generation_config
    return decoder, tokenizer, str(tokenizer.convert_ids_to_tokens(whole.config.image_token_id))


def _between(
    wholes: _Wholes, spec: CompositionSpec, checkpoint: Checkpoint | None, encoder: Encoder | Patches, decoder: Any
) -> tuple[nn.Module, CrossAttention | None, tuple[str, ...]]:
    """The projector and the gated layers, and which of them are random."""
    options = dict(spec.projector.options)
    kind = str(options.pop("kind", "mlp"))
    width, decoder_width = encoder.width, int(decoder.config.hidden_size)
    weights, random = _weights(wholes, spec, checkpoint)
    own = _below(weights, "projector.")
    if own and "kind" not in spec.projector.options:
        kind, found = projectors.kind_of(own, width)
        options = {**found, **options}
    projector = projectors.build(kind, width, decoder_width, encoder.tokens, options)
    cross = None
    if spec.fusion != "concat":
        heads, blocks = int(decoder.config.num_attention_heads), int(decoder.config.num_hidden_layers)
        cross = CrossAttention(decoder_width, heads, blocks, spec.every)
    for name, part in (("projector", projector), ("cross_attention", cross)):
        if part is not None and not _load(part, weights, name):
            random.append(name)
    return projector, cross, tuple(random)


def _weights(
    wholes: _Wholes, spec: CompositionSpec, checkpoint: Checkpoint | None
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of projector and gated layers by name, and which of the two are known to be random."""
    if spec.projector.file is not None:
        return _read(spec.projector.file)
    if checkpoint is None:
        return {}, []
    module = getattr(wholes.of(checkpoint).base_model, "multi_modal_projector", None)
    if module is None:
        raise ModelError(f"{checkpoint.id} has no projector that can be taken out of it")
    return {f"projector.{name}": value for name, value in module.state_dict().items()}, []


def _read(file: Path) -> tuple[dict[str, Tensor], list[str]]:
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            random = (opened.metadata() or {}).get(RANDOM, "").split()
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"cannot read the projector's weights {file}: {error}") from error
    if not any(name.startswith(("projector.", "cross_attention.")) for name in tensors):
        tensors = {f"projector.{name}": value for name, value in tensors.items()}
    return tensors, [name for name in random if name in _CALLED]


def _load(part: nn.Module, weights: Mapping[str, Tensor], name: str) -> bool:
    """Fill a part; False if there are no weights for it. Raises ModelError where they do not fit."""
    own = _below(weights, f"{name}.")
    if not own:
        return False
    state = part.state_dict()
    odd = sorted(set(own) ^ set(state)) or sorted(key for key in state if own[key].shape != state[key].shape)
    if odd:
        raise ModelError(f"the weights of {_CALLED[name]} do not fit: {odd[0]}", "was it made for other parts?")
    if not next(part.parameters()).is_meta:
        part.load_state_dict(own)
    return True


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _check_widths(projector: nn.Module, encoder: Encoder | Patches, width: int) -> None:
    with torch.no_grad():
        weight = next(projector.parameters())
        made = projector(torch.zeros(1, encoder.tokens, encoder.width, dtype=weight.dtype, device=weight.device))
    if made.shape[-1] != width:
        raise ModelError(f"the projector makes embeddings of {made.shape[-1]}, and the decoder takes {width}")
