"""A checkpoint's configuration files -> the model in it without its numbers, as far as they tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import transformers

from vlmcli.errors import VlmError, first_line
from vlmcli.models.assemble import assemble, notes
from vlmcli.models.gguf import outline_gguf
from vlmcli.models.load import LOCAL, Kind, kind_of, learn_layout, name_slot, one_line, processor_of, quiet, template_of
from vlmcli.models.skeleton import META, Skeleton
from vlmcli.models.torchvision_shim import mend_torchvision
from vlmcli.types.result import ModelInfo
from vlmcli.weights.folder import stored_weights
from vlmcli.weights.gguf import listed
from vlmcli.weights.resolve import Checkpoint
from vlmcli.weights.safetensors import Weight


def skeleton(checkpoint: Checkpoint) -> Skeleton:
    """What the configuration files of a checkpoint make, without its weights; only config.json must be there.

    Raises ModelError where config.json cannot be read. Whatever else is missing or unknown is told in ``notes``.
    """
    with quiet(), one_line(checkpoint):
        mend_torchvision()
        if checkpoint.parts:
            return _composed(checkpoint)
        return _gguf(checkpoint) if checkpoint.gguf else _folder(checkpoint)


def _folder(checkpoint: Checkpoint) -> Skeleton:
    notes: list[str] = []
    kind, model, processor = None, None, None
    stored: tuple[Weight, ...] = ()
    learn_layout(checkpoint)
    config = _any_config(checkpoint)
    if config.model_type in transformers.CONFIG_MAPPING:
        kind, model = _on_meta(config, notes)
    else:
        notes.append(f"transformers knows no models of type {config.model_type!r}")
    if kind in ("vlm", "dual"):
        with _noting(notes, "no image tokens can be counted"):
            processor = processor_of(checkpoint, kind)
            name_slot(config, processor)
    with _noting(notes, "the dtype is that of config.json"):
        stored = stored_weights(checkpoint.folder)
    dtype = str(getattr(model, "dtype", None) or config.dtype or "-").removeprefix("torch.")
    template = template_of(checkpoint, config, processor) if processor is not None else None
    made = Skeleton(_info(checkpoint, dtype), config, kind, model, processor, template, _licence(checkpoint))
    return replace(made, stored=stored, notes=tuple(notes))


def _composed(checkpoint: Checkpoint) -> Skeleton:
    """A composition: the parts' configurations, and what is stored of them."""
    assert checkpoint.spec is not None and checkpoint.spec.composition is not None
    model, processor = assemble(checkpoint.spec.composition, checkpoint.parts, torch.float32, weights=False)
    info = _info(checkpoint, str(torch.float32).removeprefix("torch."))
    return Skeleton(
        info,
        model.config,
        "vlm",
        model,
        processor,
        checkpoint.spec.template,
        checkpoint.spec.licence,
        notes=notes(model),
    )


def _gguf(checkpoint: Checkpoint) -> Skeleton:
    """A text-only decoder in a GGUF file."""
    assert checkpoint.gguf is not None
    config, model = outline_gguf(checkpoint.folder, checkpoint.gguf)
    stored = listed(checkpoint.folder / checkpoint.gguf)
    info = _info(checkpoint, str(model.dtype).removeprefix("torch."))
    return Skeleton(info, config, "llm", model, licence=_licence(checkpoint), stored=stored)


def _info(checkpoint: Checkpoint, dtype: str) -> ModelInfo:
    return ModelInfo(checkpoint.id, checkpoint.revision, dtype, META.type)


def _licence(checkpoint: Checkpoint) -> str | None:
    return checkpoint.spec.licence if checkpoint.spec else None


def _any_config(checkpoint: Checkpoint) -> Any:
    """transformers' configuration; for a type that it does not know, the bare values of config.json."""
    values, _ = transformers.PretrainedConfig.get_config_dict(checkpoint.folder, **LOCAL)
    if values.get("model_type") in transformers.CONFIG_MAPPING:
        return transformers.AutoConfig.from_pretrained(checkpoint.folder, **LOCAL)
    bare = transformers.PretrainedConfig.from_dict(values)
    bare.model_type = values.get("model_type", "")
    for name, value in vars(bare).items():
        if name.endswith("_config") and isinstance(value, dict):
            setattr(bare, name, transformers.PretrainedConfig.from_dict(value))
    return bare


def _on_meta(config: Any, notes: list[str]) -> tuple[Kind | None, Any]:
    """The kind of model, None for what vlm cannot run; and the model without numbers, None where it cannot be built."""
    kind: Kind | None = None
    loader: Any = transformers.AutoModel
    model = None
    with _noting(notes, "vlm cannot run it"):
        kind, loader = kind_of(config)
    with _noting(notes, "transformers cannot build it"), META:
        model = loader.from_config(config).eval()
    return kind, model


@contextmanager
def _noting(notes: list[str], consequence: str) -> Iterator[None]:
    """Write down what goes wrong and what follows from it, and go on."""
    try:
        yield
    except Exception as error:
        notes.append(f"{consequence}: {error.message if isinstance(error, VlmError) else first_line(error)}")
