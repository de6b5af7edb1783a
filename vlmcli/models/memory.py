"""How much memory a piece of work needs at most."""

from __future__ import annotations

import re
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The most memory in use since ``reset``, in bytes: a GPU's allocations, or on a CPU what the process has in RAM.

    The latter is the high-water mark that Linux keeps (proc(5): VmHWM) and resets on request. It counts all of the
    process, memory that was freed and not given back among it. Elsewhere nothing is known.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known = device.type == "cuda"
        self.reset()

    def reset(self) -> None:
        """From here on."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self._device.type == "cpu":
            try:
                _CLEAR.write_text("5")
                self._known = True
            except OSError:  # no Linux, or one that does not let us
                self._known = False

    @property
    def peak_bytes(self) -> int | None:
        """Since ``reset``; None where it cannot be told."""
        if not self._known:
            return None
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else _of_process("VmHWM")

    @property
    def held_bytes(self) -> int | None:
        """In use now; None where it cannot be told."""
        if not self._known:
            return None
        return torch.cuda.memory_allocated(self._device) if self._device.type == "cuda" else _of_process("VmRSS")


def _of_process(name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
