"""A quick start of torch and transformers, for a command that answers one question and leaves.

Everything here depends on what stands where inside these two libraries. It is used with the versions it was written
for, and with no others; ``VLM_QUICK_START=0`` switches it off. Either way the same classes come out, with the same
weights.

Nothing of torch or transformers is imported by this module: it is there before them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from vlmcli.config import cache_dir
from vlmcli.models.waiting import Finder, Known, Waiting, wake

_VERSIONS = {"transformers": r"5\.23\.0", "torch": r"2\.13\.\d+(\+.*)?"}
_VERSION_FILES = {"transformers": "__init__.py", "torch": "version.py"}


def _names(*names: str) -> Known:
    return dict.fromkeys(names)


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    """In the place of decorators that tell torch.compile something: nothing is compiled here."""
    return _as_it_is if function is None else function


def _expect_true(value: Any, *more: Any) -> Any:
    """What stands behind ``torch._check``; only a value that torch.compile is still to work out needs the real one."""
    if isinstance(value, bool):
        return value
    load_the_rest()
    return importlib.import_module("torch.fx.experimental.symbolic_shapes").expect_true(value, *more)


# What is imported for other devices, other attention, other number formats, training, compilation and video. A name
# stands here if importers only call it, or look for instances of it.
_WAITING: dict[str, Known] = {
    "accelerate": _names("PartialState", "dispatch_model"),
    "accelerate.hooks": _names("AlignDevicesHook", "add_hook_to_module"),
    "accelerate.utils": _names(
        "extract_model_from_parallel", "get_balanced_memory", "get_max_memory", "infer_auto_device_map", "reduce"
    ),
    "accelerate.utils.modeling": _names("clean_device_map", "get_max_layer_size"),
    # With these the other operators' shapes are known to torch.compile, and to tensors on the meta device.
    "torch._dynamo": {"allow_in_graph": _as_it_is, "assume_constant_result": _as_it_is, "disable": _as_it_is},
    "torch._dynamo._trace_wrapped_higher_order_op": _names("TransformGetItemToIndex"),
    "torch._higher_order_ops": _names("cond", "while_loop"),
    "torch._higher_order_ops.invoke_subgraph": _names("NestedCompileRegionOptions"),
    "torch._decomp": _names(),
    "torch._export": _names(),
    "torch._inductor": _names(),
    "torch._meta_registrations": _names(),
    "torch._prims": _names(),
    "torch._refs": _names(),
    "torch._subclasses": _names(".fake_tensor"),
    "torch._subclasses.fake_tensor": _names("FakeTensor"),
    "torch.ao": _names(),
    "torch.distributed._composable": _names(".fsdp"),
    "torch.distributed._composable.fsdp": _names("fully_shard"),
    "torch.distributed._meta_registrations": _names(),
    "torch.distributed._functional_collectives": _names("all_to_all_single_autograd", "wait_tensor"),
    "torch.distributed.checkpoint": _names(".hf_storage"),
    "torch.distributed.checkpoint.hf_storage": _names("HuggingFaceStorageReader", "HuggingFaceStorageWriter"),
    "torch.distributed.fsdp": _names("CPUOffloadPolicy", "FullyShardedDataParallel", "MixedPrecisionPolicy"),
    "torch.distributed.tensor": _names("DTensor", "Partial", "Replicate", "Shard", "distribute_tensor"),
    "torch.distributed.tensor._utils": _names("compute_local_shape_and_global_offset"),
    "torch.distributed.tensor.placement_types": _names("Shard", "_StridedShard"),
    "torch.distributions": _names("constraints"),
    "torch.export": _names(),
    "torch.func": _names("vmap"),
    "torch.fx": _names(".experimental", ".operator_schemas", ".traceback"),
    "torch.fx.experimental": _names(".sym_node", ".symbolic_shapes"),
    "torch.fx.experimental.sym_node": _names("DynamicInt"),
    "torch.fx.experimental.symbolic_shapes": {"expect_true": _expect_true},
    "torch.fx.operator_schemas": {"_SCHEMA_TO_SIGNATURE_CACHE": {}},
    "torch.fx.traceback": _names(),
    "torch.masked": _names(),
    "torch.nested": _names("nested_tensor"),
    "torch.nn.attention.flex_attention": _names("BlockMask", "create_block_mask"),
    "torch.nn.intrinsic": _names(),
    "torch.nn.qat": _names(),
    "torch.nn.quantizable": _names(),
    "torch.nn.quantized": _names(),
    "torch.optim": _names(),
    "torch.profiler": _names(),
    "torch.quantization": _names(),
    "torch.utils.checkpoint": _names("checkpoint"),
    "torchvision.datasets": _names(),
    "torchvision.io": _names("decode_jpeg", "encode_jpeg"),
    "torchvision.models": _names(),
    "torchvision.ops": _names(),
    "torchvision.transforms": {
        **_names("._functional_pil", "._functional_tensor", ".functional", ".v2"),
        "InterpolationMode": "torchvision.transforms.functional",
    },
    "torchvision.transforms.v2": _names(".functional"),
    "transformers.distributed.expert_parallel": _names("apply_expert_parallelism"),
    "transformers.distributed.tensor_parallel": _names(
        "apply_tensor_parallelism", "gather_state_dict_for_save", "get_kv_heads_per_rank", "verify_tp_plan"
    ),
    "transformers.generation.continuous_batching": _names("ContinuousMixin", "PagedAttentionCache"),
    "transformers.generation.continuous_batching.cache": _names("PagedAttentionCache"),
    "transformers.integrations.eager_paged": _names("eager_paged_attention_forward"),
    "transformers.integrations.flex_attention": _names("flex_attention_forward"),
    "transformers.integrations.sonicmoe": _names("sonicmoe_experts_forward"),
}

# In torch's own order, which is the only one that works.
_CHAIN = (
    "torch.distributions",
    "torch.nested",
    "torch.optim",
    "torch.profiler",
    "torch.ao",
    "torch.nn.intrinsic",
    "torch.nn.qat",
    "torch.nn.quantizable",
    "torch.nn.quantized",
    "torch.quantization",
    "torch.masked",
    "torch.fx",
    "torch.export",
    "torch.func",
    "torch._higher_order_ops",
    "torch.distributed._meta_registrations",
    "torch._meta_registrations",
    "torch.fx.experimental.sym_node",
    "torch.utils.checkpoint",
    "torch._decomp",
    "torch._export",
    "torch._prims",
    "torch._refs",
    "torch._subclasses",
    "torch._subclasses.fake_tensor",
    "torch._inductor",
    "torch._dynamo",
    "torch.nn.attention.flex_attention",
)


def start_quickly(environ: Mapping[str, str] = os.environ) -> bool:
    """Prepare a quick import of torch and transformers; True if it is prepared.

    False, and nothing changes, where one of them is imported already, is of a version that is not known here, or where
    the environment says no.
    """
    if environ.get("VLM_QUICK_START", "1").lower() in ("0", "false", "no", "off"):
        return False
    if any(name in sys.modules or not _known_version(name) for name in _VERSIONS):
        return False
    after: dict[str, Callable[[ModuleType], None]] = {
        "torch": _find_what_nobody_imported,
        "torch.nn.init": _leave_meta_alone,
        "transformers.core_model_loading": _compile_patterns_when_used,
        "transformers.utils.import_utils": _remember_structure,
    }
    sys.meta_path.insert(0, Finder(_WAITING, after, _CHAIN))
    return True


def _known_version(package: str) -> bool:
    """Read from the file in which it stands: a fraction of the time that the installer's records take."""
    spec = PathFinder.find_spec(package)
    if spec is None or not spec.origin:
        return False
    with (Path(spec.origin).parent / _VERSION_FILES[package]).open(encoding="utf-8") as file:
        found = re.search(r"^__version__ = ['\"]([^'\"]+)['\"]", file.read(4096), re.MULTILINE)
    return found is not None and re.fullmatch(_VERSIONS[package], found[1]) is not None


def still_waits() -> bool:
    """Whether a part of torch has not been loaded yet."""
    return any(type(sys.modules.get(name)) is Waiting for name in _CHAIN)


def load_the_rest() -> bool:
    """Load what of torch still waits, which fills tables that others read; False if nothing waits."""
    waits = still_waits()
    for name in _CHAIN if waits else ():
        wake(importlib.import_module(name))
    return waits


def _find_what_nobody_imported(torch: Any) -> None:
    """Some of torch's modules are used without an import, because another one has imported them: one that waits."""
    otherwise, folder = torch.__getattr__, Path(torch.__file__).parent

    def __getattr__(name: str) -> Any:
        try:
            return otherwise(name)
        except AttributeError:
            if not ((folder / name).is_dir() or (folder / f"{name}.py").is_file()) or not load_the_rest():
                raise
            return getattr(torch, name)

    torch.__getattr__ = __getattr__
    torch._C._set_generator_metaclass(torch._opaque_base.OpaqueBaseMeta)  # as torch._prims does, which waits


def _leave_meta_alone(init: Any) -> None:
    """Initialise nothing that has no memory: transformers builds a model on the meta device, and fills it from files.

    The functions themselves would do nothing there too, by way of decompositions that take a second to import.
    """
    for name, function in list(vars(init).items()):
        if name.endswith("_") and not name.startswith("_") and callable(function):
            setattr(init, name, _but_on_meta(function))


def _but_on_meta(function: Any) -> Any:
    @functools.wraps(function)
    def initialise(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return tensor if tensor.is_meta else function(tensor, *args, **kwargs)

    return initialise


class _Pattern:
    """A regular expression that is compiled when it is first used."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._pattern, self._flags = pattern, flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(re.compile(self._pattern, self._flags), name)


def _compile_patterns_when_used(core_model_loading: Any) -> None:
    """transformers makes over a thousand patterns, all families' names of weights, to use those of one."""
    module = ModuleType("re")
    module.__dict__.update(
        vars(re), compile=lambda pattern, flags=0: re.compile(pattern, flags) if flags else _Pattern(pattern)
    )
    core_model_loading.re = module


def _remember_structure(import_utils: Any) -> None:
    """Keep on disk which class of transformers stands in which file: 2,000 files are read for it, twice an import."""
    make = import_utils.define_import_structure
    models = Path(import_utils.__file__).parent.parent / "models"

    def define_import_structure(module_path: str, prefix: str | None = None) -> Any:
        if Path(module_path) not in (models, models / "__init__.py"):
            return make(module_path, prefix)
        structure = _structure(models, make)
        dotted = f"{prefix}." if prefix else ""
        return {
            backends: {f"{dotted}{module}": set(names) for module, names in modules.items()}
            for backends, modules in structure.items()
        }

    import_utils.define_import_structure = define_import_structure


def _structure(models: Path, make: Callable[[Path], Any]) -> Any:
    """{backends: {module: names}} of transformers.models, from the disk if it is there and as old as the folder."""
    identity = f"{models} {models.stat().st_mtime_ns}"
    file = cache_dir() / "imports" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
    try:
        return {frozenset(backends): modules for backends, modules in json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        structure = make(models)
        _write(file, [[sorted(b), {m: sorted(names) for m, names in mods.items()}] for b, mods in structure.items()])
        return structure


def _write(file: Path, content: Any) -> None:
    """Under another name first, so that no half of it is read; not at all where that is impossible."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
