"""The catalogue for a person."""

from __future__ import annotations

from dataclasses import replace

from vlmcli.render.forms.models import model_lines, models_table, pulled_line
from vlmcli.render.table import Table, table_lines
from vlmcli.render.terminal import Terminal
from vlmcli.types.models import ModelEntry, ModelFile, Pulled

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def entry(name: str = "tiny", default: bool = True) -> ModelEntry:
    return ModelEntry(name, "vlm", "builtin:tiny", None, "MIT", 8_100_000, "A tiny one.", "shipped", True, default)


def test_models_table_marks_the_default() -> None:
    written = lines(models_table([entry(), entry("other", default=False)]))
    assert written[1].startswith("tiny *")
    assert "8.1M" in written[1]
    assert "*" not in written[2]


def test_model_lines_say_everything() -> None:
    text = "\n".join(model_lines(entry()))
    for part in ("tiny", "A tiny one.", "vlm", "8.1M", "MIT", "builtin:tiny", "yes", "shipped"):
        assert part in text


def test_a_pull_is_told_in_a_line() -> None:
    small, large = ModelFile("config.json", 1_500), ModelFile("model.safetensors", 2_000_000)
    pulled = Pulled("tiny", "org/tiny", None, "/cache/\x1b[31mtiny", (small, large), (large,))
    assert pulled_line(pulled) == "tiny: fetched 2.0 MB of 2.0 MB in 1 file: /cache/tiny"
    assert "fetched 2.0 MB in 2 files" in pulled_line(replace(pulled, fetched=pulled.files))
    assert "already there, 2.0 MB in 2 files" in pulled_line(replace(pulled, fetched=()))
