"""The quick start differs from the ordinary one in nothing but time; what was left out comes when it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.quick import print_of
from vlmcli.models import quick
from vlmcli.weights.resolve import BUILTIN

# Gemma 3's masks, which torch.vmap makes, load all of torch; what comes after it in the same process shows nothing.
QUICK = ("picturebook", "llava", "qwen2_vl")
FAMILIES = ("llava", "qwen2_vl", "gemma3", "mllama", "idefics3", "qwen3_5", "internvl_chat", "llama", "siglip", "vit")


@pytest.fixture(scope="module")
def folders(checkpoint: Any) -> tuple[str, ...]:
    return (str(BUILTIN / "picturebook"), *(str(checkpoint(family).folder) for family in FAMILIES))


@pytest.fixture(scope="module")
def started(folders: tuple[str, ...]) -> Any:
    """What a process says that started quickly."""
    done = subprocess.run([sys.executable, "-m", "tests.quick", *folders], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("index", range(len(FAMILIES) + 1), ids=["picturebook", *FAMILIES])
def test_the_same_model(index: int, folders: tuple[str, ...], started: Any) -> None:
    ordinary = json.loads(json.dumps(print_of(Path(folders[index]))))
    assert started["prints"][folders[index]] == ordinary


def test_it_is_quick_with_the_versions_that_are_tested_here(started: Any) -> None:
    """Where this fails, the tables in models/quick.py are to be looked through for the new version."""
    assert started["started"], f"unknown: transformers {transformers.__version__}, torch {torch.__version__}"
    for name, waits in zip(QUICK, started["waits"], strict=False):
        assert waits, f"{name} loads all of torch: the table is short of a name"


def test_what_waited_works_once_it_is_loaded(started: Any) -> None:
    assert started["compiled"] == 1.0


@pytest.mark.parametrize("environ", [{"VLM_QUICK_START": "0"}, {}], ids=["switched-off", "torch-is-there"])
def test_it_changes_nothing_where_it_may_not(environ: dict[str, str]) -> None:
    before = list(sys.meta_path)
    assert not quick.start_quickly(environ)
    assert sys.meta_path == before


def test_an_unknown_version_starts_in_the_ordinary_way(tmp_path: Path) -> None:
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").write_text('__version__ = "5.23.1"\n')
    code = "from vlmcli.models.quick import start_quickly; print(start_quickly({}))"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_the_list_of_classes_is_kept_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_CACHE_DIR", str(tmp_path / "cache"))
    models = Path(transformers.__file__).parent / "models"
    make = transformers.utils.import_utils.define_import_structure
    first, second = quick._structure(models, make), quick._structure(models, lambda _: pytest.fail("read again"))
    assert {b: {m: sorted(n) for m, n in names.items()} for b, names in first.items()} == second
    (file,) = (tmp_path / "cache" / "imports").iterdir()
    file.write_text("[")
    assert quick._structure(models, make) == first, "a damaged list must be made again"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VLM_CACHE_DIR", str(tmp_path / "file"))
    assert quick._structure(tmp_path, lambda _: {frozenset(): {"a": {"B"}}}) == {frozenset(): {"a": {"B"}}}
