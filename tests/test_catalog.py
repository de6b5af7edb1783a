"""The catalogue: the shipped file is sound, the user's own adds to it and overrides, and names are guessed well."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

from vlmcli.catalog import Catalog, ModelSpec, shipped_file
from vlmcli.config import read_toml
from vlmcli.errors import UsageError

SHIPPED = Catalog.load(Path("no-such-file.toml"))
TEMPLATES = sorted(read_toml(shipped_file())["templates"])


def user(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(text)
    return path


# The shipped file


@pytest.mark.parametrize("spec", SHIPPED.specs(), ids=lambda spec: spec.name)
def test_every_shipped_model_can_be_found_and_says_what_it_is(spec: ModelSpec) -> None:
    assert SHIPPED.get(spec.name) is spec
    assert re.fullmatch(r"builtin:[\w-]+|hub:[\w.-]+/[\w.-]+", spec.source)
    assert spec.description and "\n" not in spec.description
    assert spec.parameters is None or spec.parameters > 1_000_000
    assert spec.defined_in == "shipped"
    assert "/" not in spec.name, "a name with a slash would look like a hub id"


def test_no_source_is_listed_twice() -> None:
    sources = [(spec.source, spec.revision) for spec in SHIPPED.specs()]
    assert len(set(sources)) == len(sources)


@pytest.mark.parametrize("kind", ["vlm", "dual"])
def test_the_defaults_are_built_in_and_of_their_kind(kind: str) -> None:
    spec = SHIPPED.default(kind)
    assert spec.kind == kind
    assert spec.source.startswith("builtin:")


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("trimmed", [True, False])
def test_shipped_templates_keep_the_text_and_all_images_or_none(kind: str, trimmed: bool) -> None:
    """None: then the family's processor writes the slots itself."""
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "answer en What? "}]
    environment = jinja2.Environment(trim_blocks=trimmed, lstrip_blocks=trimmed)
    template = environment.from_string(SHIPPED.template(kind) or "")
    rendered = template.render(messages=[{"role": "user", "content": content}])
    assert "answer en What? " in rendered
    slots = re.findall(r"<image>|<\|vision_pad\|>\n", rendered)
    assert len(slots) in (0, 2), "an image was dropped on the way into the prompt"
    assert rendered.splitlines()[0], "white space of the file stands before the prompt"


def test_the_hub_id_leads_to_the_same_model() -> None:
    for spec in SHIPPED.specs():
        assert SHIPPED.by_source(spec.source) is spec
    assert SHIPPED.by_source("hub:nobody/nothing") is None


def test_the_shipped_file_stands_in_the_checkout() -> None:
    assert shipped_file().name == "models.toml"
    assert len(read_toml(shipped_file())["models"]) == len(SHIPPED.specs())


# The user's own


def test_a_users_table_adds_a_model(tmp_path: Path) -> None:
    path = user(tmp_path, '[models.mine]\nkind = "llm"\nsource = "hub:me/mine"\nparameters = 7\n')
    catalog = Catalog.load(path)
    assert catalog.get("mine") == ModelSpec("mine", "llm", "hub:me/mine", parameters=7, defined_in="user")
    assert len(catalog.specs()) == len(SHIPPED.specs()) + 1


def test_a_users_table_overrides_single_keys(tmp_path: Path) -> None:
    shipped = SHIPPED.get("picturebook")
    path = user(tmp_path, '[models.picturebook]\ndescription = "mine"\n')
    spec = Catalog.load(path).get("picturebook")
    assert spec is not None and shipped is not None
    assert (spec.description, spec.defined_in) == ("mine", "user")
    assert (spec.source, spec.kind) == (shipped.source, shipped.kind)


def test_a_users_templates_add_and_override(tmp_path: Path) -> None:
    catalog = Catalog.load(user(tmp_path, '[templates]\nmine = "a"\ngit = "b"\n'))
    assert (catalog.template("mine"), catalog.template("git")) == ("a", "b")
    assert catalog.template("fuyu") == SHIPPED.template("fuyu") and catalog.template("llava") is None


def test_templates_must_be_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="templates"):
        Catalog.load(user(tmp_path, "[templates]\nmine = 3\n"))


def test_a_user_can_choose_the_default(tmp_path: Path) -> None:
    path = user(tmp_path, '[defaults]\nvlm = "smolvlm-256m"\n')
    catalog = Catalog.load(path)
    assert catalog.default("vlm").name == "smolvlm-256m"
    assert catalog.default("dual") == SHIPPED.default("dual")


def test_a_users_relative_path_starts_at_the_file(tmp_path: Path) -> None:
    path = user(tmp_path, '[models.mine]\nkind = "vlm"\nsource = "path:weights/mine"\n')
    spec = Catalog.load(path).get("mine")
    assert spec is not None
    assert spec.source == f"path:{tmp_path}/weights/mine"


def test_the_users_file_is_looked_for_in_the_config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user(tmp_path, '[models.mine]\nkind = "vlm"\nsource = "hub:me/mine"\n')
    monkeypatch.setenv("VLM_CONFIG_DIR", str(tmp_path))
    assert Catalog.load().get("mine") is not None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[models.m]\nkind = "vlm"\n', "source must be"),
        ('[models.m]\nkind = "vlm"\nsource = "ftp://x"\n', "source must be"),
        ('[models.m]\nkind = "cat"\nsource = "hub:a/b"\n', "kind must be one of vlm, dual, llm"),
        ('[models.m]\nsource = "hub:a/b"\n', "kind must be"),
        ('[models.m]\nkind = "vlm"\nsource = "hub:a/b"\nsauce = "x"\n', "no such key: sauce"),
        ('[models.m]\nkind = "vlm"\nsource = "hub:a/b"\nparameters = "7B"\n', "parameters must be a whole number"),
        ('[models.m]\nkind = "vlm"\nsource = 3\n', "source must be text"),
        ("models = 3\n", "must be tables"),
        ("[models]\nm = 3\n", "must be tables"),
        ("[defaults]\nvlm = 3\n", "names of models"),
        ("[models.m\n", "line 1"),
    ],
)
def test_a_wrong_file_is_named(text: str, word: str, tmp_path: Path) -> None:
    path = user(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        Catalog.load(path)
    assert str(path) in caught.value.message
    assert word in caught.value.message


def test_a_default_that_does_not_exist_is_named(tmp_path: Path) -> None:
    catalog = Catalog.load(user(tmp_path, '[defaults]\nvlm = "nothing"\n'))
    with pytest.raises(UsageError, match="'nothing' is not in the catalogue"):
        catalog.default("vlm")
    with pytest.raises(UsageError, match="no default model of kind llm"):
        catalog.default("llm")


# Names


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("picturbook", "picturebook"),
        ("PictureBook", "picturebook"),
        ("llava", "llava-1.5-7b"),
        ("qwen2-vl", "qwen2-vl-2b"),
        ("smolvlm256m", "smolvlm-256m"),
        ("siglip2", "siglip2-base"),
    ],
)
def test_the_name_that_was_meant_is_near(typed: str, meant: str) -> None:
    assert meant in SHIPPED.nearest(typed)


def test_nearness_is_not_invented() -> None:
    assert SHIPPED.nearest("xxxxxxxxxxxxxxxxxxxx") == ()
    assert len(SHIPPED.nearest("l", n=2)) <= 2
