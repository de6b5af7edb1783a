"""From a name to a model that can be used."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

from vlmcli.api.classifier import ClassifierModel
from vlmcli.api.detector import DetectorModel
from vlmcli.api.dual import DualModel
from vlmcli.api.painter import PainterModel
from vlmcli.api.segmenter import SegmenterModel
from vlmcli.api.vlm import VlmModel
from vlmcli.catalog import Catalog
from vlmcli.errors import UsageError
from vlmcli.inputs.image import MAX_PIXELS
from vlmcli.weights.resolve import resolve


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    kind: Literal["vlm", "dual", "classifier", "detector", "segmenter", "painter"] = "vlm",
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    allow_private_urls: bool = False,
    catalog: Catalog | None = None,
    progress: bool = False,
    cache: bool = True,
    device_map: Literal["auto"] | None = None,
    quantize: Literal["int8", "int4"] | None = None,
) -> VlmModel | DualModel | ClassifierModel | DetectorModel | SegmenterModel | PainterModel:
    """Load a model; what kind it is, its own configuration says, and of a painter the catalogue.

    Args:
        model: a name of the catalogue, a folder, or a hub id; None is the catalogue's default of ``kind``.
        device: ``auto`` (cuda > mps > cpu), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: ``auto`` (float32 on a CPU, bfloat16 elsewhere), ``float32``, ``bfloat16`` or ``float16``.
        threads: CPU threads for the whole process; None leaves torch's choice.
        max_pixels: larger images are refused before they are decoded.
        allow_private_urls: fetch image URLs from private, loopback and link-local addresses too.
        catalog: the known models; None reads the shipped models.toml and the user's.
        progress: show a bar on stderr while a model is downloaded.
        cache: keep the features of images, in memory and on disk, and know them again. Not for a model whose weights
            you change after loading it.
        device_map: ``auto`` spreads a model that no single device holds over all of them (by accelerate): the GPUs
            first, then the CPU. It chooses the devices, so ``device`` stays ``auto``.
        quantize: a decoder on a CPU reads its matrices as whole numbers of 8 or 4 bits; made once, and kept on disk.

    Raises ModelNotFound, Offline, ModelError, UsageError, OutOfMemory.
    """
    from vlmcli.models.classifier import Classifier
    from vlmcli.models.detector import Detector
    from vlmcli.models.dual import Dual
    from vlmcli.models.feature_files import FeatureFiles
    from vlmcli.models.load import load as load_checkpoint
    from vlmcli.models.segmenter import Segmenter

    features = FeatureFiles.of_user() if cache else None
    catalog = catalog or Catalog.load()
    name = name_of(model, catalog, kind)
    _set_threads(threads)
    checkpoint = resolve(name, catalog, progress=progress)
    began = time.perf_counter()
    loaded = load_checkpoint(checkpoint, device, dtype, features, device_map, quantize)
    load_ms = 1000 * (time.perf_counter() - began)
    if isinstance(loaded, Dual):
        return DualModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)
    if isinstance(loaded, Classifier):
        return ClassifierModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)
    if isinstance(loaded, Detector):
        return DetectorModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)
    if isinstance(loaded, Segmenter):
        return SegmenterModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)
    if checkpoint.spec is not None and checkpoint.spec.kind == "painter":
        return PainterModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)
    return VlmModel(loaded, checkpoint, load_ms, max_pixels, allow_private_urls)


def name_of(model: str | os.PathLike[str] | None, catalog: Catalog, kind: str) -> str:
    """What ``model`` stands for; None is the catalogue's default of ``kind``."""
    if isinstance(model, os.PathLike):
        return str(Path(model).absolute())  # a path object is a folder, never a name of the catalogue
    return catalog.default(kind).name if model is None else model


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    if threads < 1:
        raise UsageError("threads must be at least 1")
    import torch

    torch.set_num_threads(threads)
