"""Trace: one prompt through the machine, stage by stage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from vlmcli.engine.decode import decode_one, prefill, token_limit
from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.outputs import replacing
from vlmcli.models.lens import projected_patches
from vlmcli.models.prompts import Inputs, State
from vlmcli.models.stages import Watch, Watched, roles, watched
from vlmcli.models.vlm import PIXELS, Vlm
from vlmcli.tasks.request import Request, image_infos, usage
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.chat import Sampling
from vlmcli.types.inspect import PartRole
from vlmcli.types.trace import STAGES, Run, Stage, StageName, Trace

_OF_IMAGES = ("decode", "resize", "patchify", "encode", "project")
_BESIDE = "the text alone: the image stands beside it, and cross-attention reads it"


@dataclass(frozen=True)
class Traced:
    """A trace and, where they were kept, the tensors of its stages by name."""

    trace: Trace
    tensors: dict[str, Tensor] = field(default_factory=dict)


def trace(vlm: Vlm, request: Request, *, max_tokens: int = 8, keep: bool = False) -> Traced:
    """Each stage of the diagram in order, and greedy decoding of at most ``max_tokens`` tokens.

    The image is encoded even where its features are known. ``resize`` is all that happens before the model runs:
    template, tokenizer and image processor. ``keep`` holds the stages' tensors, on the CPU: ``decode``, ``resize``,
    ``patchify``, ``encode``, ``project``, ``fuse``, ``prefill`` (logits), ``step.1`` and so on; where a stage has made
    several, they are numbered: ``decode.0``, ``decode.1``.

    ``timings_ms``: ``load``, ``prepare``, ``prefill`` (all stages up to it), ``decode`` (of tokens), ``total``.

    Raises ModelError where the decoder cannot be looked into, and what ``ask`` raises, but not NumericalError: NaN is
    counted, and ends the answer.
    """
    if max_tokens < 1:
        raise UsageError("max_tokens must be at least 1")
    clock = Stopwatch(request.load_ms)
    watch = Watch(vlm.device, keep)
    unkept = copy(vlm)
    unkept.features = None  # kept features would hide the encoder
    watch.see("decode", *(torch.from_numpy(np.array(image.pixels)) for image in request.images))  # [height, width, 3]
    watch.enter("resize")
    inputs = vlm.prepare(request.prompt)
    watch.pause()
    watch.see("resize", *_pixels(inputs))
    clock.lap("prepare")
    with watched(vlm, watch):
        if request.images:
            watch.enter("project")
        encoded = unkept.encode(inputs)
        if (patches := projected_patches(encoded)) is not None:
            watch.see("project", patches)  # [P, D]
        watch.enter("fuse")
        state = prefill(vlm, encoded)
        watch.see("prefill", state.logits)  # [V]
        watch.pause()
        clock.lap("prefill")
        said = tuple(_steps(vlm, state, watch, token_limit(vlm, len(inputs.ids), Sampling(max_tokens=max_tokens))))
    clock.lap("decode")
    sequence, width = _sequence(vlm, inputs, watch.stages["fuse"])
    stages = tuple(_stages(vlm, request, watch.stages, said, sequence))
    infos = image_infos(request.images, encoded)
    done = Trace(stages, sequence, width, vlm.info, infos, usage(inputs, len(said)), timings_ms=clock.timings_ms())
    return Traced(done, dict(_named(watch.stages)) if keep else {})


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file that appears whole or not at all. Raises InputError where it cannot be written."""
    try:
        with replacing(path) as stream:
            stream.write(safetensors.torch.save(dict(tensors)))
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}", "give another place"
        ) from error


def _pixels(inputs: Inputs) -> tuple[Tensor, ...]:
    """What the image processor made of all images."""
    found = next((inputs.tensors[name] for name in PIXELS if inputs.tensors.get(name) is not None), ())
    return (found,) if isinstance(found, Tensor) else tuple(found)


def _steps(vlm: Vlm, state: State, watch: Watch, limit: int) -> Iterator[str]:
    """The greedy answer, token by token; ``prefill`` has said the first. NaN and the end of the answer end it."""
    for index in range(1, limit + 1):
        if bool(state.logits.isnan().any()):
            return
        token_id = int(state.logits.argmax())
        yield vlm.vocabulary.token(token_id)
        if token_id in vlm.eos_ids or index == limit:
            return
        watch.enter(f"step.{index}")
        logits = decode_one(vlm, state, token_id)
        watch.see(f"step.{index}", logits)  # [V]
        watch.pause()


def _stages(
    vlm: Vlm, request: Request, seen: Mapping[str, Watched], said: Sequence[str], sequence: Sequence[Run]
) -> list[Stage]:
    """The rows of the table; those of images only where there are any."""
    there, stages = roles(vlm), []
    beside = bool(request.images) and all(run.kind == "text" for run in sequence)
    for name in STAGES[:-1]:
        if name in _OF_IMAGES and not request.images:
            continue
        own = seen.get(name, Watched())
        missing = own.figures is None
        note = _absence(name, there) if missing else _remark(vlm, name, beside)
        ms = request.decode_ms if name == "decode" else own.ms
        token = said[0] if name == "prefill" and said else None
        stages.append(Stage(name, own.figures, None if missing else ms, own.peak_bytes, note, token))
    steps = [own for name, own in seen.items() if name.startswith("step.")]
    tokens = itertools.chain(said[1:], itertools.repeat(None))  # behind NaN nothing is said
    stages += [Stage("step", own.figures, own.ms, own.peak_bytes, token=next(tokens)) for own in steps]
    return stages


def _absence(name: StageName, there: frozenset[PartRole]) -> str:
    """Why a stage cannot be seen."""
    if name in ("patchify", "encode") and "encoder" not in there:
        return "this model has no vision encoder"
    if name == "project" and "projector" not in there:
        return "this model has no projector"
    return "cannot be seen in this family: its time is part of a neighbour's"


def _remark(vlm: Vlm, name: StageName, beside: bool) -> str:
    """What has to be known of a stage that is seen."""
    layer = getattr(vlm.model.config, "vision_feature_layer", -1)
    if name == "encode" and layer != -1:
        return f"its last layer; the projector reads layer {layer}"
    return _BESIDE if name == "fuse" and beside else ""


def _sequence(vlm: Vlm, inputs: Inputs, fused: Watched) -> tuple[tuple[Run, ...], int | None]:
    """The runs of what the decoder reads, and its width; images in front of the text (GIT) are a run too."""
    if fused.figures is None:
        return (), None
    *_, length, width = fused.figures.shapes[0]  # [B, T, D]
    kinds = [True] * (length - len(inputs.ids)) + list(vlm.shown(inputs))
    runs, start = [], 0
    for image, run in itertools.groupby(kinds):
        count = len(list(run))
        runs.append(Run("image" if image else "text", start, count))
        start += count
    return tuple(runs), width


def _named(seen: Mapping[str, Watched]) -> Iterator[tuple[str, Tensor]]:
    """The kept tensors: the stage's name, with a number where it has made several."""
    for name, own in seen.items():
        for number, tensor in enumerate(own.tensors):
            yield (name if len(own.tensors) == 1 else f"{name}.{number}"), tensor.contiguous()
