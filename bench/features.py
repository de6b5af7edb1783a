"""What kept features save: the same question about one image, encoded anew each time, and known.

``python -m bench.features [MODEL] [IMAGE]`` prints the median time to the first token, the model loaded before.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.models.feature_files import FeatureFiles
from vlmcli.models.features import FeatureStore
from vlmcli.models.vlm import Vlm
from vlmcli.types.ask import TokenEvent
from vlmcli.types.chat import Sampling

ROUNDS = 15
IMAGE = Path(__file__).parent.parent / "examples" / "shapes.png"


def first_token_ms(model: VlmModel, image: str) -> float:
    """From the question to its first token."""
    began = time.perf_counter()
    events = model.ask(image, "What is in the picture?", sampling=Sampling(max_tokens=1))
    next(event for event in events if isinstance(event, TokenEvent))
    return 1000 * (time.perf_counter() - began)


def median_ms(model: VlmModel, image: str) -> float:
    """After one question that does not count."""
    first_token_ms(model, image)
    return statistics.median(first_token_ms(model, image) for _ in range(ROUNDS))


def main(name: str | None = None, image: str = str(IMAGE)) -> None:
    """Print a table."""
    model = load(name, cache=False)
    assert isinstance(model, VlmModel)
    plain = model.vlm
    print(f"{model.info.id} ({model.info.dtype} on {model.info.device}), first token, median of {ROUNDS}")
    with tempfile.TemporaryDirectory() as folder:
        for row, memory_bytes in (("encoded anew", None), ("from the disk", 0), ("from memory", 10**9)):
            if memory_bytes is not None:
                store = FeatureStore("bench", plain.info, FeatureFiles(Path(folder)), memory_bytes)
                model.vlm = Vlm(plain.model, plain.processor, plain.info, plain.template, store)
            print(f"{row:<14}{median_ms(model, image):8.1f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
