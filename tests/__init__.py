"""Tests see neither the network nor what the person who runs them has downloaded or configured."""

import os
import tempfile

_NOWHERE = tempfile.mkdtemp(prefix="vlm-tests-")
os.environ |= {"HF_HOME": _NOWHERE, "HF_HUB_OFFLINE": "1", "VLM_CONFIG_DIR": _NOWHERE, "VLM_CACHE_DIR": _NOWHERE}
for _name in ("MODEL", "DEVICE", "DTYPE", "THREADS", "MAX_PIXELS", "DEBUG", "FEATURE_CACHE_MB"):
    os.environ.pop(f"VLM_{_name}", None)
