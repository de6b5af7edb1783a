"""Whether a file may be written is known before a model is loaded, and it appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.outputs import check_folder, check_output, replacing


def test_a_new_file_may_be_written_and_checking_leaves_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "page.html")
    check_output(tmp_path / ("n" * 250 + ".html"))  # the temporary file's name fits as well
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    there = tmp_path / "page.html"
    there.write_text("mine")
    with pytest.raises(InputError, match="exists already") as raised:
        check_output(there)
    assert "--force" in (raised.value.hint or "")
    check_output(there, force=True)
    assert there.read_text() == "mine"


def test_only_these_endings(tmp_path: Path) -> None:
    check_output(tmp_path / "page.HTML", ".html", ".htm")
    with pytest.raises(UsageError, match=r"does not end in \.html or \.htm"):
        check_output(tmp_path / "photo.jpg", ".html", ".htm", force=True)


@pytest.mark.parametrize("force", [False, True])
def test_what_cannot_be_a_file_is_refused(tmp_path: Path, force: bool) -> None:
    (tmp_path / "folder.html").mkdir()
    os.mkfifo(tmp_path / "pipe.html")
    (tmp_path / "loop.html").symlink_to("loop.html")
    for name, reason in (
        ("folder.html", "it is a folder"),
        ("pipe.html", "no regular file"),
        ("no/page.html", "its folder does not exist"),
        ("n" * 300, "name too long"),
        ("nul\0.html", "null"),
        ("loop.html", "loop"),
    ):
        with pytest.raises(InputError, match=reason):
            check_output(tmp_path / name, force=force)
    with pytest.raises(InputError, match="no regular file"):
        check_output(Path("/dev/null"), force=force)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="NEEDS A FOLDER THAT NOBODY CAN WRITE TO: /proc of Linux")
def test_a_folder_that_cannot_be_written_to_is_noticed_even_as_root() -> None:
    with pytest.raises(InputError, match=r"cannot write /proc/page\.html"):
        check_output(Path("/proc/page.html"))


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with replacing(path) as stream:
        stream.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    link.symlink_to(target)
    check_output(link)
    with replacing(link) as stream:
        stream.write(b"x")
    assert link.is_symlink() and target.read_bytes() == b"x"


def test_the_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    with replacing(tmp_path / "new") as stream:
        stream.write(b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_may_be_new_or_empty(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    (tmp_path / "there").mkdir()
    check_folder(tmp_path / "there")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    (tmp_path / "there" / "mine.png").write_text("mine")
    with pytest.raises(InputError, match="is not empty") as raised:
        check_folder(tmp_path / "there")
    assert "--force" in (raised.value.hint or "")
    check_folder(tmp_path / "there", force=True)


@pytest.mark.parametrize("force", [False, True])
def test_what_cannot_be_a_folder_is_refused(tmp_path: Path, force: bool) -> None:
    (tmp_path / "file").write_text("mine")
    for name, reason in (
        ("file", "it is no folder"),
        ("no/folder", "its folder does not exist"),
        ("n" * 300, "name too long"),
        ("nul\0", "null"),
    ):
        with pytest.raises(InputError, match=reason):
            check_folder(tmp_path / name, force=force)
