"""Checks written YAML against the schema that stands beside it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml

_COMMENT = "# yaml-language-server: $schema="


def yaml_as_json(path: Path) -> Any:
    """Return a YAML file's content as JSON has it."""
    return json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))))


def conforms(path: Path) -> str:
    """Check a file against the schema that its first line names; return the name of the schema's file."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(_COMMENT), first
    schema = path.parent / first.removeprefix(_COMMENT)
    assert schema.resolve().is_relative_to(path.parent.resolve()), "a copied folder would lack its schema"
    jsonschema.validate(yaml_as_json(path), json.loads(schema.read_text(encoding="utf-8")))
    return schema.name
