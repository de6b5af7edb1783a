"""Settings: flag > VLM_* > config.toml > default, and errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmcli.config import config_dir, read_toml, setting
from vlmcli.errors import UsageError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('device = "from file"\nthreads = 3\nscale = 2\nquiet = true\nmax_pixels = 1000\n')
    return path


def test_each_place_wins_over_the_next(config: Path, tmp_path: Path) -> None:
    environ = {"VLM_DEVICE": "from environment"}
    nowhere = tmp_path / "none.toml"
    assert setting("device", "from flag", "default", environ=environ, path=config) == "from flag"
    assert setting("device", None, "default", environ=environ, path=config) == "from environment"
    assert setting("device", None, "default", environ={}, path=config) == "from file"
    assert setting("device", None, "default", environ={}, path=nowhere) == "default"


def test_an_unset_setting_may_have_no_default(config: Path) -> None:
    assert setting("model", None, None, str, environ={}, path=config) is None
    assert setting("threads", None, None, int, environ={}, path=config) == 3


def test_a_flag_that_is_false_or_zero_still_wins(config: Path) -> None:
    assert setting("quiet", False, True, environ={}, path=config) is False
    assert setting("threads", 0, 1, environ={}, path=config) == 0


def test_an_empty_environment_variable_counts_as_not_set(config: Path) -> None:
    assert setting("threads", None, 1, environ={"VLM_THREADS": ""}, path=config) == 3


def test_values_take_the_kind_of_the_default(config: Path) -> None:
    assert setting("threads", None, 1, environ={"VLM_THREADS": "8"}, path=config) == 8
    assert setting("scale", None, 1.0, environ={"VLM_SCALE": "0.5"}, path=config) == 0.5
    assert setting("scale", None, 1.0, environ={}, path=config) == 2.0
    assert setting("max_pixels", None, "64M", environ={}, path=config) == "1000"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("off", False), ("false", False)])
def test_truth_in_the_environment(text: str, value: bool, config: Path) -> None:
    assert setting("loud", None, not value, environ={"VLM_LOUD": text}, path=config) is value


@pytest.mark.parametrize(("name", "default", "text"), [("threads", 1, "many"), ("quiet", True, "perhaps")])
def test_a_wrong_environment_variable_is_named(name: str, default: int, text: str, config: Path) -> None:
    with pytest.raises(UsageError, match=rf"VLM_{name.upper()} is '{text}'"):
        setting(name, None, default, environ={f"VLM_{name.upper()}": text}, path=config)


def test_a_wrong_value_in_the_file_is_named_with_the_file(config: Path) -> None:
    with pytest.raises(UsageError, match=r"device in .*config\.toml is 'from file'.* whole number"):
        setting("device", None, 1, environ={}, path=config)
    with pytest.raises(UsageError, match="true or false"):
        setting("threads", None, True, environ={}, path=config)


def test_the_folder_can_be_chosen(tmp_path: Path) -> None:
    environ = {"VLM_CONFIG_DIR": str(tmp_path)}
    (tmp_path / "config.toml").write_text('device = "cpu"\n')
    assert config_dir(environ) == tmp_path
    assert setting("device", None, "auto", environ=environ) == "cpu"
    assert config_dir({}).name == "vlm"


@pytest.mark.parametrize(("content", "line"), [(b'a = 1\nb = "open\n', 2), (b"a = 1\n\nb = \xff\n", 3)])
def test_a_broken_file_is_named_with_the_line(content: bytes, line: int, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_toml(path)
    assert str(path) in caught.value.message
    assert f"line {line}" in caught.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_toml(tmp_path)
