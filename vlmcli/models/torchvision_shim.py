"""torchvision beside a torch it was not built for.

PyPI's torchvision is built against the CUDA torch. Beside a CPU-only torch its compiled half does not load, and
``import torchvision`` then fails with "operator torchvision::nms does not exist", because it registers the meta
kernels of two operators that nobody has declared. Image processors use neither operator, only the Python half.
"""

from __future__ import annotations

import importlib
import sys

import torch

_SCHEMAS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))

# A torch.library.Library takes its declarations with it when it is collected.
_declared: list[torch.library.Library] = []


def mend_torchvision() -> bool:
    """Make ``import torchvision`` work; True if the two operators had to be declared for that.

    Does nothing where torchvision imports as it is, or is not installed (what needs it then says so itself).
    """
    if _declared:
        return True
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return False
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare()
        return True
    return False


def _declare() -> None:
    """Declare the schemas, forget the half-imported modules, and import again."""
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    importlib.import_module("torchvision")
