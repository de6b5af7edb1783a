"""Whole processes: how long until they say something, and the most memory they hold."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
VLM = (sys.executable, "-m", "vlmcli.cli.main")


def first_byte_s(command: Sequence[str]) -> float:
    """From the start of a process to the first byte on its stdout. Raises RuntimeError if it fails."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        elapsed_s = time.perf_counter() - began
        _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {said.decode()[-2000:]}")
    return elapsed_s


def whole_s(*commands: Sequence[str]) -> float:
    """From the start of processes that run at once to the end of the last. Raises RuntimeError if one fails."""
    began = time.perf_counter()
    running = [subprocess.Popen(c, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"{commands[0]} ended with {codes}")
    return time.perf_counter() - began


def peak_bytes(command: Sequence[str]) -> int:
    """The most memory that a process held (its resident set). Raises RuntimeError if it fails."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
