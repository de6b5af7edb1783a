"""Tests see neither the network nor what the person who runs them has downloaded or configured."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_NOWHERE = tempfile.mkdtemp(prefix="vlm-tests-")
atexit.register(shutil.rmtree, _NOWHERE, ignore_errors=True)
os.environ |= {"HF_HOME": _NOWHERE, "HF_HUB_OFFLINE": "1", "VLM_CONFIG_DIR": _NOWHERE, "VLM_CACHE_DIR": _NOWHERE}
for _name in ("MODEL", "DEVICE", "DTYPE", "THREADS", "MAX_PIXELS", "DEBUG", "FEATURE_CACHE_MB"):
    os.environ.pop(f"VLM_{_name}", None)

# All processes of a run share the compiled decode step, for compiling it takes ten seconds; the first one sets it up.
_COMPILED = Path(os.environ.setdefault("VLM_TESTS_COMPILED", f"{_NOWHERE}/compiled"))
_COMPILED.mkdir(exist_ok=True)
if _COMPILED.parent != Path(_NOWHERE):
    Path(_NOWHERE, "compiled").symlink_to(_COMPILED)
