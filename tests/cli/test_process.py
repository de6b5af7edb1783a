"""What only a real process shows: imports, signals, closed pipes, full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "PIL", "numpy", "rich", "torchvision", "huggingface_hub", "safetensors")
PROBE = """
import json, sys
sys.argv = ["vlm", *json.loads(sys.argv[1])]
from vlmcli.cli.main import main
try:
    main()
except SystemExit:
    pass
loaded = sorted({name.partition(".")[0] for name, module in sys.modules.items() if module is not None})
print(json.dumps(loaded), file=sys.stderr)
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLM_", "_VLM_"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), **more}


def probe(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROBE, json.dumps(argv)]
    return subprocess.run(
        command, env=environment(**variables), text=True, capture_output=True, stdin=subprocess.DEVNULL, check=True
    )


def heavy_imports(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [name for name in json.loads(done.stderr.splitlines()[-1]) if name in HEAVY]


@pytest.mark.parametrize(
    "argv",
    [
        ("--help",),
        (),
        *((verb, "--help") for verb in ("ask", "topk", "zeroshot", "embed", "classify", "inspect", "compose", "pull")),
        *((verb, "--help") for verb in ("models", "score", "choose", "check", "bench")),
        ("ask", "no-such-file.jpg", "What?"),
    ],
)
def test_help_and_early_errors_import_nothing_heavy(argv: tuple[str, ...]) -> None:
    done = probe(*argv)
    assert heavy_imports(done) == []
    assert "Usage: vlm" in done.stdout or "no such file" in done.stderr


def test_version_imports_nothing_heavy() -> None:
    done = probe("--version")
    assert heavy_imports(done) == []
    assert done.stdout.startswith("vlm ")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"_VLM_COMPLETE": "complete_bash", "COMP_WORDS": "vlm to", "COMP_CWORD": "1"}, "topk"),
        ({"_VLM_COMPLETE": "complete_bash", "COMP_WORDS": "vlm ask --max-t", "COMP_CWORD": "2"}, "--max-tokens"),
        ({"_VLM_COMPLETE": "complete_bash", "COMP_WORDS": "vlm ask -m pictureb", "COMP_CWORD": "3"}, "picturebook"),
        ({"_VLM_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "vlm to"}, "topk"),
        (
            {
                "_VLM_COMPLETE": "complete_fish",
                "_TYPER_COMPLETE_ARGS": "vlm to",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            "topk",
        ),
    ],
    ids=["command", "option", "model", "zsh", "fish"],
)
def test_completion_imports_nothing_heavy(variables: dict[str, str], expected: str) -> None:
    done = probe(**variables)
    assert expected in done.stdout
    assert heavy_imports(done) == []


def fake(*argv: str, model: str = "plain", **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.cli.fakes", *argv]
    defaults = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(FAKE_MODEL=model), cwd=REPOSITORY, **{**defaults, **options})  # type: ignore[call-overload, no-any-return]


def test_head_ends_it_quietly() -> None:
    with fake("ask", "Talk.", "-q", model="endless") as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == "word "
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another signal there")
def test_ctrl_c_keeps_what_was_said() -> None:
    stdout, stderr = (process := fake("ask", "Talk.", "-q", model="interrupted")).communicate()
    assert (process.returncode, stdout, stderr) == (130, "A red\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another signal there")
def test_ctrl_c_under_json_gives_the_partial_answer() -> None:
    stdout, _ = (process := fake("ask", "Talk.", "-q", "--json", model="interrupted")).communicate()
    result = json.loads(stdout)
    assert process.returncode == 128 + signal.SIGINT
    assert (result["text"], result["finish_reason"]) == ("A red", "interrupted")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_no_complaint_at_exit() -> None:
    with open("/dev/full", "w") as full:
        process = fake("ask", "Talk.", "-q", stdout=full)
        _, stderr = process.communicate()
    assert process.returncode == 1
    assert stderr.count("\n") == 1
    assert "no space left" in stderr


def test_an_open_silent_pipe_on_stdin_does_not_hang() -> None:
    reading, writing = os.pipe()
    process = fake("ask", "Talk.", "-q", stdin=reading)
    stdout, _ = process.communicate()
    os.close(reading)
    os.close(writing)
    assert (process.returncode, stdout) == (0, "A red circle.\n")


def test_a_locale_without_unicode_gets_question_marks_and_no_crash() -> None:
    variables = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "vlmcli.cli.main", "models", "show", "日本"]
    done = subprocess.run(
        command, env=environment(**variables), capture_output=True, stdin=subprocess.DEVNULL, cwd=REPOSITORY
    )
    assert done.returncode == 4
    assert done.stderr.isascii()
    assert b"Traceback" not in done.stderr
