"""The wheel holds what an installed vlm needs, and the contracts that the linters check are the ones we mean."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("dist")
    [path] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(path)


def test_the_catalogue_is_inside_and_unchanged(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("vlmcli/models.toml") == (ROOT / "models.toml").read_bytes()


def test_every_file_of_the_package_is_inside(wheel: zipfile.ZipFile) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "vlmcli").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not wanted - set(wheel.namelist()), "a .gitignore rule or hatch setting keeps files out of the wheel"
    assert "vlmcli/py.typed" in wanted


def test_nothing_but_the_package_is_inside(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in wheel.namelist()} == {"vlmcli", "vlmcli-0.1.0.dist-info"}


def test_the_command_is_declared(wheel: zipfile.ZipFile) -> None:
    assert "vlm = vlmcli.cli.main:run" in wheel.read("vlmcli-0.1.0.dist-info/entry_points.txt").decode()


def test_imports_point_downward_in_the_order_of_the_design() -> None:
    [layers] = [contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"] if contract["type"] == "layers"]
    assert layers["layers"] == [
        "cli",
        "api | render",
        "tasks",
        "engine",
        "models",
        "inputs",
        "weights",
        "catalog",
        "config",
        "types | errors",
    ]
    assert layers["exhaustive"], "a new module must find its layer"
