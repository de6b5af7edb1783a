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
    assert re.fullmatch(r"builtin:[\w-]+|hub:[\w.-]+/[\w.-]+|pypi:[\w-]+==[\d.]+", spec.source)
    assert spec.description and "\n" not in spec.description
    assert spec.parameters is None or spec.parameters > 1_000_000
    assert spec.defined_in == "shipped"
    assert "/" not in spec.name, "a name with a slash would look like a hub id"


def test_no_source_is_listed_twice() -> None:
    sources = [(spec.source, spec.revision) for spec in SHIPPED.specs()]
    assert len(set(sources)) == len(sources)


@pytest.mark.parametrize("kind", ["vlm", "dual", "detector", "segmenter", "painter"])
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
        ('[models.m]\nkind = "llm"\nsource = "pypi:carrier"\n', "one release"),
        ('[models.m]\nkind = "llm"\nsource = "pypi:carrier==1.0"\nfile = "a.gguf"\n', "needs file"),
        (f'[models.m]\nkind = "llm"\nsource = "pypi:carrier==1.0"\nsha256 = "{"0" * 64}"\n', "needs file"),
        ('[models.m]\nkind = "llm"\nsource = "pypi:carrier==1.0"\nfile = "a.gguf"\nsha256 = "0"\n', "64 hexa"),
        ('[models.m]\nkind = "llm"\nsource = "hub:a/b"\nfile = "a.bin"\n', "GGUF file"),
        ('[models.m]\nkind = "llm"\nsource = "path:a"\nfile = "a.gguf"\n', "belongs to"),
        (f'[models.m]\nkind = "llm"\nsource = "hub:a/b"\nsha256 = "{"0" * 64}"\n', "belongs to"),
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


def test_a_kind_without_a_default_says_which_models_would_do() -> None:
    with pytest.raises(UsageError, match="classifier") as raised:
        SHIPPED.default("classifier")
    assert all(spec.name in (raised.value.hint or "") for spec in SHIPPED.specs() if spec.kind == "classifier")


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


# Compositions

PARTS = """
[models.mine]
vision = "google/siglip-base-patch16-224"
projector = {kind = "perceiver", queries = 16}
decoder = {from = "smollm2", part = "decoder"}
fusion = "hybrid"
every = 2
tiles = 6
"""


def test_a_composition_names_its_parts(tmp_path: Path) -> None:
    spec = Catalog.load(user(tmp_path, PARTS)).get("mine")
    assert spec is not None and spec.composition is not None
    composed = spec.composition
    assert (spec.kind, spec.source) == ("vlm", "composition")
    assert (composed.vision.source, composed.decoder.source) == ("google/siglip-base-patch16-224", "smollm2")
    assert composed.projector.options == {"kind": "perceiver", "queries": 16}
    assert (composed.fusion, composed.every, composed.tiles) == ("hybrid", 2, 6)


def test_a_projectors_file_lies_beside_the_users_own(tmp_path: Path) -> None:
    text = '[models.a]\nvision = {patch_px = 8, side_px = 64}\nprojector = {from = "p.safetensors"}\ndecoder = "d"\n'
    spec = Catalog.load(user(tmp_path, text)).get("a")
    assert spec is not None and spec.composition is not None
    assert spec.composition.projector.file == tmp_path / "p.safetensors"
    assert spec.composition.vision.source is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"hybrid"', '"glue"'), "fusion must be one of"),
        (("every = 2", "every = 0"), "every must be at least 1"),
        (("tiles = 6", 'tiles = "6"'), "tiles must be"),
        (("queries = 16", "querys = 16"), "projector has no key querys"),
        (("queries = 16", 'queries = "16"'), "projector.queries"),
        (('part = "decoder"', 'part = "vision"'), "part 'decoder'"),
        (('vision = "google/siglip-base-patch16-224"', ""), "vision must be"),
        (('vision = "google/siglip-base-patch16-224"', "vision = {patch_px = 8}"), "vision needs from"),
        (('{from = "smollm2", part = "decoder"}', "{}"), "decoder needs from"),
        (("tiles = 6", 'source = "hub:a/b"'), "leave out source"),
        (("tiles = 6", 'kind = "photo"'), "kind must be one of"),
    ],
)
def test_a_composition_that_cannot_be_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in PARTS
    with pytest.raises(UsageError, match=message):
        Catalog.load(user(tmp_path, PARTS.replace(*change)))
