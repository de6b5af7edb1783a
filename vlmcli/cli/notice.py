"""The line that says which model answers when the user named none."""

from __future__ import annotations


def default_notice(kind: str) -> str:
    """What the default model of ``kind`` is and knows, and how to name another, all from the catalogue."""
    from vlmcli.catalog import Catalog

    catalog = Catalog.load()
    default = catalog.default(kind)
    about = f"{default.name}: {default.description.rstrip('.')}." if default.description else f"{default.name}."
    others = [spec for spec in catalog.specs() if spec.kind == kind and not spec.source.startswith("builtin:")]
    if not default.source.startswith("builtin:") or not others:
        return f"using {about} For another model: -m MODEL; see: vlm models"
    smallest = min(others, key=lambda spec: spec.parameters or float("inf"))
    return f"using {about} For photographs name a model, such as -m {smallest.name}; see: vlm models"
