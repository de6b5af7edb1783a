"""Threads that run one compiled function together, and sleep in between.

They are Python's own, for the function holds no lock of the interpreter while it runs. numba's threading layers are not
used: one of them ends the process when two threads call it at once, another after a fork, and each would start its
threads anew for every matrix of every layer; ours meet in memory (``compiled.step``) and start once a token.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

Work = Callable[[int], Any]
"""What each member runs, by its number."""


class Team:
    """``size`` threads, the caller's among them; fewer where the system gives no more."""

    def __init__(self, size: int) -> None:
        self._jobs: list[queue.SimpleQueue[Work]] = []
        self._lock = threading.Lock()
        for member in range(1, size):
            jobs: queue.SimpleQueue[Work] = queue.SimpleQueue()
            try:
                threading.Thread(target=_serve, args=(member, jobs), daemon=True, name=f"vlm-{member}").start()
            except RuntimeError:
                break
            self._jobs.append(jobs)

    @property
    def size(self) -> int:
        return len(self._jobs) + 1

    def run(self, work: Work, give_up: Callable[[], None]) -> Any:
        """Run ``work`` in all members, and return what it returned in the caller's.

        One run at a time: members wait for each other inside. Where the caller is interrupted, ``give_up`` tells the
        others.
        """
        with self._lock:
            try:
                for jobs in self._jobs:
                    jobs.put(work)
                return work(0)
            except BaseException:
                give_up()
                raise


def _serve(member: int, jobs: queue.SimpleQueue[Work]) -> None:
    while True:
        work = jobs.get()
        work(member)
        del work  # it holds a conversation's cache


_teams: dict[tuple[int, int], Team] = {}


def team_of(size: int) -> Team:
    """This process's team of that size: a fork takes no threads along."""
    key = (os.getpid(), size)
    if key not in _teams:
        _teams[key] = Team(size)
    return _teams[key]
