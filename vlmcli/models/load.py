"""A folder in Hugging Face layout -> the model in it, whichever family it is of."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

import torch
import transformers
from transformers.models.auto import modeling_auto as auto

from vlmcli.catalog import Catalog
from vlmcli.errors import ModelError, UsageError, VlmError, first_line
from vlmcli.inputs.chat import has_template
from vlmcli.models.assemble import assemble, notes
from vlmcli.models.classifier import Classifier
from vlmcli.models.cpu.tables import Bits
from vlmcli.models.detector import Detector
from vlmcli.models.device import memory_guard, pick_device, pick_dtype
from vlmcli.models.dual import Dual
from vlmcli.models.families import PUBLISHED_LAYOUTS, UNKNOWN_TOKEN, family_of
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.models.features import FeatureStore
from vlmcli.models.fit import check_memory, free_bytes
from vlmcli.models.gguf import load_gguf
from vlmcli.models.mapped import let_go_when_converted
from vlmcli.models.quick import load_the_rest
from vlmcli.models.segmenter import Segmenter
from vlmcli.models.steps import steps_for
from vlmcli.models.torchvision_shim import mend_torchvision
from vlmcli.models.vlm import Vlm
from vlmcli.types.result import ModelInfo
from vlmcli.weights.fingerprint import fingerprint
from vlmcli.weights.resolve import Checkpoint

T = TypeVar("T")

Kind = Literal["vlm", "llm", "dual", "classifier", "detector", "segmenter"]

# In the order in which a model type that stands in several is looked up.
_KINDS: tuple[tuple[Kind, dict[str, Any], Any], ...] = (
    ("vlm", auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, transformers.AutoModelForImageTextToText),
    ("llm", auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, transformers.AutoModelForCausalLM),
    (
        "dual",
        auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        transformers.AutoModelForZeroShotImageClassification,
    ),
    ("classifier", auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, transformers.AutoModelForImageClassification),
    (
        "detector",
        auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES,
        transformers.AutoModelForZeroShotObjectDetection,
    ),
    ("segmenter", auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES, transformers.AutoModelForMaskGeneration),
)
# Their processors read no text.
_SEEING_ONLY = ("classifier", "segmenter")
LOCAL = {"local_files_only": True, "trust_remote_code": False}


def load(
    checkpoint: Checkpoint,
    device: str = "auto",
    dtype: str = "auto",
    features: FeatureFiles | None = None,
    device_map: Literal["auto"] | None = None,
    quantize: Bits | None = None,
) -> Vlm | Dual | Classifier | Detector | Segmenter:
    """Load a checkpoint onto a device.

    Args:
        checkpoint: a folder with config.json, *.safetensors, a tokenizer and, for images, a processor; or a GGUF file.
        device: ``auto`` (cuda > mps > cpu), ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        dtype: ``auto`` (float32 on a CPU, bfloat16 elsewhere), ``float32``, ``bfloat16``, ``float16``.
        features: where the features of images are kept; None encodes an image every time.
        device_map: ``auto`` spreads a checkpoint over all devices; not one of parts, nor a GGUF file.
        quantize: the decoder's matrices as whole numbers of 8 or 4 bits, made once and kept beside the features.

    Raises:
        ModelError: transformers cannot load it, or weights are missing.
        UsageError: no such device or dtype; a model that cannot be quantised.
        OutOfMemory: it does not fit.
    """
    where = pick_device(device)
    numbers = pick_dtype(dtype, where)
    if device_map is not None and (checkpoint.parts or checkpoint.gguf):
        raise UsageError(f"{checkpoint.id} cannot be spread over devices", "leave --device-map out")
    with quiet(), one_line(checkpoint), memory_guard(f"loading {checkpoint.id}"):
        check_memory(checkpoint, numbers, where, None if device_map else free_bytes(where))
        mend_torchvision()  # transformers imports it for text-only models too
        if checkpoint.parts:
            return _composed(checkpoint, numbers, where, features, quantize)
        info = _info(checkpoint, numbers, where)
        store = _store(checkpoint, info, features)
        kind, model, processor = _or_again(partial(_read, checkpoint, numbers, device_map))
        model = model if device_map else model.to(where)
        info = _quantized(model, info, checkpoint, quantize, kind)
    if kind == "dual":
        return Dual(model, processor, info)
    if kind == "classifier":
        return Classifier(model, processor, info)
    if kind == "detector":
        return Detector(model, processor, info, store)
    if kind == "segmenter":
        return Segmenter(model, processor, info, store)
    return Vlm(model, processor, info, template_of(checkpoint, model.config, processor), store, steps_for(model))


def _or_again(read: Callable[[], T]) -> T:
    """What ``read`` returns; after a quick start a failure may only mean that something was still waiting."""
    try:
        return read()
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, ImportError, RuntimeError, TypeError):  # NotImplementedError: an operator on meta
        if not load_the_rest():
            raise
        return read()


def _read(checkpoint: Checkpoint, dtype: torch.dtype, device_map: str | None) -> tuple[Kind, Any, Any]:
    """The kind of model, the model on the CPU (or spread), and its processor; a GGUF file is a text-only decoder."""
    if checkpoint.gguf:
        return "llm", *load_gguf(checkpoint.folder, checkpoint.gguf, dtype)
    learn_layout(checkpoint)
    config = transformers.AutoConfig.from_pretrained(checkpoint.folder, **LOCAL)
    kind, loader = kind_of(config)
    if kind == "vlm":
        check_steps(config, loader)
    processor = processor_of(checkpoint, kind)
    model = _model(loader, checkpoint, dtype, device_map)
    name_slot(model.config, processor)
    return kind, model, processor


def name_slot(config: Any, processor: Any) -> None:
    """Tell a configuration in its publisher's own layout which token is an image slot: only the processor knows."""
    if getattr(config, "image_token_id", None) == UNKNOWN_TOKEN:
        config.image_token_id = processor.image_token_id


def _store(checkpoint: Checkpoint, info: ModelInfo, files: FeatureFiles | None) -> FeatureStore | None:
    """Looked at before the weights are read: what changes meanwhile is another model the next time."""
    return None if files is None else FeatureStore(fingerprint(checkpoint), info, files)


def _quantized(model: Any, info: ModelInfo, checkpoint: Checkpoint, bits: Bits | None, kind: Kind = "vlm") -> ModelInfo:
    """What is known about a model once its decoder is quantised, where that was asked for."""
    if bits is None:
        return info
    if kind not in ("vlm", "llm"):
        raise UsageError("this model has no decoder to quantise", "leave --quantize out")
    from vlmcli.models.cpu.quantize import Kept, quantize_decoder

    quantize_decoder(model, bits, Kept(FeatureFiles.of_weights(), fingerprint(checkpoint), info))
    return replace(info, dtype=f"{info.dtype}, {bits} decoder")


def _composed(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    device: torch.device,
    features: FeatureFiles | None,
    quantize: Bits | None,
) -> Vlm:
    """A model that models.toml declares by its parts."""
    assert checkpoint.spec is not None and checkpoint.spec.composition is not None
    store = _store(checkpoint, _info(checkpoint, dtype, device), features)
    model, processor = _or_again(partial(assemble, checkpoint.spec.composition, checkpoint.parts, dtype))
    info = _info(checkpoint, dtype, device, notes(model))
    model = model.to(device)
    info = _quantized(model, info, checkpoint, quantize)
    return Vlm(model, processor, info, checkpoint.spec.template, store, steps_for(model))


def _info(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device, notes: tuple[str, ...] = ()) -> ModelInfo:
    return ModelInfo(checkpoint.id, checkpoint.revision, str(dtype).removeprefix("torch."), str(device), notes)


def kind_of(config: Any) -> tuple[Kind, Any]:
    """The kind of model and its auto class: what ``architectures`` names, else the first that knows the type."""
    candidates = [
        (kind, names[config.model_type], loader) for kind, names, loader in _KINDS if config.model_type in names
    ]
    if not candidates:
        raise ModelError(
            f"models of type {config.model_type!r} neither answer about images nor label them or things in them",
            hint="vlm reads image-text-to-text, text-only, CLIP- or SigLIP-shaped and image-classifying checkpoints, "
            "open-vocabulary detectors and promptable segmenters",
        )
    # A detector's decoder is one of boxes.
    if candidates[0][0] in ("vlm", "llm") and (
        config.is_encoder_decoder or config.get_text_config().is_encoder_decoder
    ):
        raise ModelError(f"this model of type {config.model_type!r} is an encoder-decoder, which vlm cannot run yet")
    named = set(config.architectures or ())
    for kind, classes, loader in candidates:
        if named & ({classes} if isinstance(classes, str) else set(classes)):
            return kind, loader
    kind, _, loader = candidates[0]
    return kind, loader


def check_steps(config: Any, loader: Any) -> None:
    """Raises ModelError for a model that writes no answer token by token: BLIP keeps no cache, some fill blocks."""
    kinds = loader._model_mapping[type(config)]
    model = kinds[0] if isinstance(kinds, (list, tuple)) else kinds
    cached = "past_key_values" in inspect.signature(model.forward).parameters or family_of(config).decoder
    if not (cached and hasattr(model, "prepare_inputs_for_generation")):
        raise ModelError(f"models of type {config.model_type!r} write no answer token by token, as vlm does")


def learn_layout(checkpoint: Checkpoint) -> None:
    """Let transformers read a publisher's own layout, where the checkpoint has one."""
    content, _ = transformers.PretrainedConfig.get_config_dict(checkpoint.folder, local_files_only=True)
    if content.get("model_type") in PUBLISHED_LAYOUTS:
        from vlmcli.models.published import teach_published_layouts  # imports models: torchvision must be mended

        teach_published_layouts()


def template_of(checkpoint: Checkpoint, config: Any, processor: Any) -> str | None:
    """A chat template of the catalogue: the model's, else its family's if the checkpoint has none of its own."""
    if checkpoint.spec and checkpoint.spec.template:
        return checkpoint.spec.template
    return None if has_template(processor) else Catalog.load().template(config.model_type)


def processor_of(checkpoint: Checkpoint, kind: Kind) -> Any:
    """The checkpoint's processor; of a text-only model its tokenizer, of one that reads no text its image processor."""
    if kind == "llm":
        return transformers.AutoTokenizer.from_pretrained(checkpoint.folder, **LOCAL)
    if kind in _SEEING_ONLY:
        return transformers.AutoImageProcessor.from_pretrained(checkpoint.folder, **LOCAL)
    processor = transformers.AutoProcessor.from_pretrained(checkpoint.folder, **LOCAL)
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise ModelError(
            f"{checkpoint.id} has no complete processor",
            hint="the folder needs the image processor's and the tokenizer's files beside the weights",
        )
    return processor


def _model(loader: Any, checkpoint: Checkpoint, dtype: torch.dtype, device_map: str | None) -> Any:
    """The weights, in eval mode, with transformers' default attention: sdpa where the family has it.

    Weights that are missing would be random numbers: an error, never a silent answer.
    """
    with let_go_when_converted():
        model, report = loader.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            device_map=device_map,
            ignore_mismatched_sizes=True,  # they are reported instead, each with its name
            **LOCAL,
        )
    for name, stored, asked in sorted(report["mismatched_keys"]):
        raise ModelError(
            f"{checkpoint.id}: the tensor {name} is {_size(stored)}, and config.json asks for {_size(asked)}",
            hint="config.json belongs to another model, or a part of it was changed",
        )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{checkpoint.id} lacks {len(missing)} of the weights that its config.json asks for: {missing[0]}",
            hint="the download may be incomplete, or config.json belongs to another model",
        )
    return model.eval()


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape) or "a single number"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and warnings off stderr: that channel is the command's own."""
    logging = transformers.utils.logging
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def one_line(checkpoint: Checkpoint) -> Iterator[None]:
    """Whatever transformers raises about a checkpoint, as a ModelError of one line."""
    try:
        yield
    except (VlmError, MemoryError, torch.OutOfMemoryError):
        raise
    except ImportError as error:
        needed = re.search(r"pip install ([\w.-]+)", str(error))  # transformers says so, in lines of its own
        if needed is None:
            raise ModelError(f"{checkpoint.id} cannot be loaded: {first_line(error)}") from error
        package = needed[1].strip(".")
        raise ModelError(f"{checkpoint.id} needs {package}, which is not here", f"pip install {package}") from error
    except json.JSONDecodeError as error:
        raise ModelError(f"{checkpoint.id}: a JSON file of it is broken: {error}") from error
    except Exception as error:
        raise ModelError(f"{checkpoint.id} cannot be loaded: {first_line(error)}") from error
