"""``python -m bench [PART ...]``: measure, print tables, and write them into RESULTS.md.

Parts: cold, prefill, second, rows, peak, pair, decode; all of them without a name. Each runs in a process of its own,
one after the other; nothing else should run on the machine.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time

from bench.processes import ROOT
from bench.report import table, write_section

PARTS = ("cold", "prefill", "second", "rows", "peak", "pair")
ALONE = ("decode",)
"""Those that print their own table."""


def main(names: list[str]) -> int:
    """Run the parts. Returns how many failed."""
    unknown = sorted(set(names) - {*PARTS, *ALONE})
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are {', '.join((*PARTS, *ALONE))}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or (*PARTS, *ALONE):
        began = time.perf_counter()
        code = "import sys; from bench.__main__ import measure; measure(sys.argv[1])"
        arguments = ["-m", f"bench.{name}"] if name in ALONE else ["-c", code, name]
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        print(f"{done.stdout}({name}: {time.perf_counter() - began:.0f} s)\n", flush=True)
        if done.returncode:
            failed += 1
        elif name in ALONE:
            write_section(name, f"python -m bench.{name}", f"```\n{done.stdout.rstrip()}\n```")
    return failed


def measure(name: str) -> None:
    """One part, in this process."""
    rows = importlib.import_module(f"bench.{name}").run()
    body = table(rows)
    print(body)
    write_section(name, f"python -m bench {name}", body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
