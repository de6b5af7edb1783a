"""Wall-clock times of the stages of a task."""

from __future__ import annotations

import time


class Stopwatch:
    """Milliseconds by stage name; ``load_ms`` is what loading the model took before."""

    def __init__(self, load_ms: float = 0.0) -> None:
        self._began = self._last = time.perf_counter()
        self._load_ms = load_ms
        self._stages: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to ``stage``."""
        now = time.perf_counter()
        self._stages[stage] = self._stages.get(stage, 0.0) + 1000 * (now - self._last)
        self._last = now

    def timings_ms(self) -> dict[str, float]:
        """``load``, the stages in their order, and ``total``, which includes ``load``."""
        total = self._load_ms + 1000 * (self._last - self._began)
        return {key: round(ms, 3) for key, ms in {"load": self._load_ms, **self._stages, "total": total}.items()}
