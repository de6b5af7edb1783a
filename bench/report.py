"""What a benchmark found: ours beside another, round by round; as lines, and as a section of RESULTS.md."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"

_HEAD = """# Results

How fast vlm is, beside what people would use in its place, on one machine. A ratio is the other's time over ours in the
same round: above 1, vlm is ahead. Every section has the command that wrote it; `make bench` runs them all.
"""


@dataclass(frozen=True)
class Comparison:
    """One row: ``ours`` and ``theirs`` have a number for each round.

    ``at_least`` is the ratio (theirs / ours) that is wanted; None where none is. ``unit`` is of both.
    """

    what: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    unit: str = "ms"
    at_least: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Theirs / ours, round by round."""
        return [their / our for our, their in zip(self.ours, self.theirs, strict=True)]

    def cells(self) -> list[str]:
        """What, ours and theirs (medians), the ratio's minimum, median and maximum, what was wanted."""
        ratios = self.ratios
        median = statistics.median(ratios)
        wanted = "-" if self.at_least is None else f"{self.at_least:g} {'ok' if median >= self.at_least else 'missed'}"
        medians = (f"{statistics.median(values):.4g} {self.unit}" for values in (self.ours, self.theirs))
        return [self.what, *medians, f"{min(ratios):.2f}", f"{median:.2f}", f"{max(ratios):.2f}", wanted]


COLUMNS = ["what", "vlm", "other", "min", "median", "max", "at least"]


def in_turn(rounds: int, *ways: Callable[[], float]) -> list[tuple[float, ...]]:
    """Measure every way once a round, so that what else the machine does hits all alike: a tuple for each way."""
    measured = [[way() for way in ways] for _ in range(rounds)]
    return [tuple(column) for column in zip(*measured, strict=True)]


def table(rows: Iterable[Comparison]) -> str:
    """A Markdown table, its columns aligned for a terminal."""
    cells = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in cells]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def write_section(name: str, command: str, body: str, file: Path = RESULTS) -> None:
    """Put a section in the place of the one of this name, or at the end; the head names the machine."""
    old = file.read_text(encoding="utf-8") if file.is_file() else ""
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", old, re.MULTILINE | re.DOTALL))
    sections[name] = f"\n`{command}` on {machine()}\n\n{body}\n\n"
    text = _HEAD + "".join(f"\n## {title}\n{content.rstrip()}\n" for title, content in sections.items())
    file.write_text(text, encoding="utf-8")


def machine() -> str:
    """The processor, its cores, what it knows of bfloat16, memory, and the versions that count."""
    from importlib.metadata import version

    import torch

    from vlmcli.models.cpu.wide import imitates_bfloat16

    bf16 = "no bfloat16" if imitates_bfloat16() else "bfloat16"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{_processor()}, {cores} cores, {bf16}{gpu}, {system}, {versions}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
