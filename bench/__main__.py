"""``python -m bench [PART ...]``: measure, print tables, and write them into RESULTS.md.

Parts: cold, prefill, second, rows, peak, pair, decode, quality, memory; all of them without a name. Each runs in a
process of its own, one after the other, with the settings of threads that a user has who set none; nothing else should
run on the machine.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time

from bench.peers import llama_cpp_reason
from bench.processes import ROOT
from bench.report import write_section

PARTS = ("cold", "prefill", "second", "rows", "peak", "pair", "decode", "quality", "memory")
"""Modules with a ``run`` that measures and returns Markdown."""


def main(names: list[str]) -> int:
    """Run the parts. Returns how many failed."""
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if reason := llama_cpp_reason():
        print(f"without llama.cpp: {reason}\n", flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    failed = 0
    for name in names or PARTS:
        began = time.perf_counter()
        code = "import sys; from bench.__main__ import measure; measure(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", code, name], cwd=ROOT, env=environment)
        print(f"({name}: {time.perf_counter() - began:.0f} s)\n", flush=True)
        failed += done.returncode != 0
    return failed


def measure(name: str) -> None:
    """One part, in this process."""
    body = importlib.import_module(f"bench.{name}").run()
    print(body, flush=True)
    write_section(name, f"python -m bench {name}", body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
