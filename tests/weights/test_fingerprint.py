"""No two checkpoints have one fingerprint, and none keeps it through a change."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from tests.weights.fakes import COMMIT, checkpoint
from vlmcli.catalog import CompositionSpec, ModelSpec, PartSpec
from vlmcli.weights.fingerprint import fingerprint
from vlmcli.weights.resolve import Checkpoint


def folder(path: Path) -> Checkpoint:
    return Checkpoint(checkpoint(path), "mine", None, None)


def test_the_same_folder_has_the_same_by_any_name(tmp_path: Path) -> None:
    mine = folder(tmp_path / "mine")
    assert fingerprint(mine) == fingerprint(replace(mine, id="other", folder=tmp_path / "." / "mine"))


def test_a_copy_and_a_change_have_another(tmp_path: Path) -> None:
    mine = folder(tmp_path / "mine")
    before = fingerprint(mine)
    copy = Path(shutil.copytree(mine.folder, tmp_path / "copy"))  # with the files' times
    assert fingerprint(replace(mine, folder=copy)) != before
    for file in mine.files():
        state = file.stat()
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
        assert fingerprint(mine) != before, file.name
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert fingerprint(mine) == before
    config, state = mine.folder / "config.json", (mine.folder / "config.json").stat()
    config.write_text(config.read_text().swapcase())
    os.utime(config, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert fingerprint(mine) != before, "config.json's content"


def test_a_commit_stands_for_its_content(tmp_path: Path) -> None:
    """Wherever the cache lies; a branch's name does not."""
    at = [Checkpoint(checkpoint(tmp_path / place), "org/it", COMMIT, None) for place in ("a", "b")]
    assert fingerprint(at[0]) == fingerprint(at[1])
    assert fingerprint(at[0]) != fingerprint(replace(at[0], id="org/other"))
    assert fingerprint(replace(at[0], revision="main")) != fingerprint(replace(at[1], revision="main"))


def test_a_composition_is_its_parts_and_how_they_are_joined(tmp_path: Path) -> None:
    vision, decoder, weights = folder(tmp_path / "v"), folder(tmp_path / "d"), tmp_path / "p.safetensors"
    weights.write_bytes(b"weights")

    def composed(**options: object) -> Checkpoint:
        spec = CompositionSpec(PartSpec("v"), PartSpec(file=weights), PartSpec("d"), **options)  # type: ignore[arg-type]
        entry = ModelSpec("both", "vlm", "composition", composition=spec)
        return Checkpoint(decoder.folder, "both", None, entry, parts={"vision": vision, "decoder": decoder})

    before = fingerprint(composed())
    assert fingerprint(composed()) == before != fingerprint(decoder)
    assert fingerprint(composed(tiles=4)) != before
    assert fingerprint(replace(composed(), parts={"vision": decoder, "decoder": vision})) != before
    weights.write_bytes(b"trained weights")
    assert fingerprint(composed()) != before
