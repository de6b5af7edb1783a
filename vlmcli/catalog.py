"""The catalogue of known models: models.toml as shipped, and the user's own beside it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vlmcli.config import config_dir, read_toml
from vlmcli.errors import UsageError

Kind = Literal["vlm", "dual", "llm"]
"""``vlm`` answers about images; ``dual`` scores texts against images; ``llm`` reads text only."""

_SCHEMES = ("builtin:", "hub:", "path:")
_FIELDS: dict[str, type] = {
    "kind": str,
    "source": str,
    "revision": str,
    "licence": str,
    "parameters": int,
    "description": str,
    "template": str,
}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry of the catalogue.

    ``source`` is ``builtin:FOLDER`` (below vlmcli/builtin), ``hub:org/name`` or ``path:/folder``. ``template`` is a
    chat template in Jinja for families that have none of their own; None leaves it to the checkpoint.
    """

    name: str
    kind: Kind
    source: str
    revision: str | None = None
    licence: str | None = None
    parameters: int | None = None
    description: str = ""
    template: str | None = None
    defined_in: Literal["shipped", "user"] = "shipped"


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
        user_file = user_file or config_dir() / "models.toml"
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
            raise UsageError(f"no default model of kind {kind}", f"name one with -m, or under [defaults] {kind} =")
        if spec := self.get(name):
            return spec
        raise UsageError(f"the default {kind} model {name!r} is not in the catalogue", "see: vlm models list")


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
    for key, value in table.items():
        _check_field(key, value, where)
    if table.get("kind") not in get_args(Kind):
        raise UsageError(f"{where}: kind must be one of {', '.join(get_args(Kind))}")
    source = table.get("source", "")
    if not source.startswith(_SCHEMES):
        raise UsageError(f"{where}: source must be builtin:FOLDER, hub:org/name or path:/folder")
    if source.startswith("path:"):
        folder = path.parent / Path(source.removeprefix("path:")).expanduser()
        table = table | {"source": f"path:{folder}"}
    return ModelSpec(name=name, defined_in=defined_in, **table)


def _check_field(key: str, value: Any, where: str) -> None:
    if key not in _FIELDS:
        raise UsageError(f"{where}: no such key: {key}", f"the keys are {', '.join(_FIELDS)}")
    if type(value) is not _FIELDS[key]:
        raise UsageError(f"{where}: {key} must be {'a whole number' if _FIELDS[key] is int else 'text in quotes'}")
