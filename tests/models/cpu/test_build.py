"""Where the compiled step cannot be had: slower, never wrong, and a line that says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models.cpu.decoders import as_vlm, make, prompt
from tests.models.cpu.test_steps import greedy, ours
from vlmcli.models.cpu import build
from vlmcli.models.cpu.team import Team


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """The step is looked for anew, and again afterwards."""
    build.built.cache_clear()
    yield
    build.built.cache_clear()


def answers_as_ever() -> str:
    model = make("LlamaConfig")
    vlm = ours(model)
    assert greedy(vlm, prompt("a cat"), 5)[0] == greedy(as_vlm(model), prompt("a cat"), 5)[0]
    return vlm.steps.note


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    note = answers_as_ever()
    assert note.startswith("transformers'") and "numba cannot be used" in note and "\n" not in note


class _Dispatcher:
    """Stands for numba's: compiling takes seconds, and what it makes is tested elsewhere."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.stats = fails, type("Stats", (), {"cache_misses": {"a": 1}})

    def compile(self, signature: Any) -> None:
        if self.fails:
            raise OSError("No space left on device")


@pytest.mark.parametrize("kept", [True, False])
def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: bool) -> None:
    from vlmcli.models.cpu.compiled import lanes, step  # noqa: F401  (its own functions are compiled as ever)

    (tmp_path / "file").touch()
    monkeypatch.setenv("VLM_CACHE_DIR", str(tmp_path if kept else tmp_path / "file"))
    asked: list[bool] = []

    def compiled(cache: bool = False) -> Any:
        asked.append(cache)
        return lambda _: _Dispatcher(fails=cache)  # the disk is full

    monkeypatch.setattr(lanes, "compiled", compiled)
    made = build.built()
    assert asked == ([True, False] if kept else [False])
    assert "not kept" in made.note and "\n" not in made.note


def test_it_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmcli.models.cpu.compiled import lanes, step  # noqa: F401  (its own functions are compiled as ever)

    monkeypatch.setattr(lanes, "compiled", lambda **_: lambda _: _Dispatcher(fails=True))
    assert "numba cannot compile it: No space left" in answers_as_ever()


def test_the_folder_is_named_after_all_of_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLM_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "compiled").mkdir()
    monkeypatch.setattr(build, "_HERE", tmp_path)
    (tmp_path / "tables.py").write_text("1")
    folders = []
    for text in ("a", "b"):
        (tmp_path / "compiled" / "lanes.py").write_text(text)
        folders.append(build._folder("0.1"))
    folders.append(build._folder("0.2"))
    assert len(set(folders)) == 3


def test_a_system_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Team(4).size == 1


def test_an_interrupted_step_lets_the_others_go() -> None:
    """Ctrl-C may arrive when the other threads wait for this one already."""
    import threading

    gone, done = threading.Event(), threading.Event()

    def work(member: int) -> None:
        if member == 0:
            raise KeyboardInterrupt
        gone.wait(5)
        done.set()

    team = Team(2)
    with pytest.raises(KeyboardInterrupt):
        team.run(work, gone.set)
    assert done.wait(5)
    assert team.run(lambda member: member, gone.set) == 0, "the team works on"
