"""The page about families is the table that the tests run, and the table has all of them."""

from __future__ import annotations

from tests import tiny
from tests.families import DUALS, FAMILIES, FINDERS, PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "`python -m tests.families` rewrites docs/families.md"


def test_every_tiny_checkpoint_has_a_row() -> None:
    assert sorted(family.tiny for family in FAMILIES) == sorted(tiny.GENERATORS)
    assert sorted(kind for _, kind, _ in DUALS) == sorted(tiny.DUALS)
    found = {command: {kind.replace("-", "_") for _, kind, _ in rows} for command, rows in FINDERS.items()}
    assert found == {"detect": set(tiny.DETECTORS), "segment": set(tiny.SEGMENTERS)}


def test_the_differences_that_the_code_names_are_tried() -> None:
    from vlmcli.models.families import NAMED

    assert set(NAMED) <= {family.type for family in FAMILIES}


def test_templates_of_the_catalogue_are_tried() -> None:
    import tomllib

    from vlmcli.catalog import shipped_file

    templates = tomllib.loads(shipped_file().read_text(encoding="utf-8"))["templates"]
    assert set(templates) <= {family.type for family in FAMILIES}
