"""The kinds of values that the document's models are made of.

Strict: no text is read as a number. The words of YAML 1.1 (`yes`, `off`) are taken where a switch is meant.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

_ROLE = r"^[a-z][a-z0-9_-]{0,62}$"
_SWITCHES = {"yes": True, "on": True, "no": False, "off": False}
_SWITCH_WORDS = [form for word in _SWITCHES for form in (word, word.capitalize(), word.upper())]


class Strict(BaseModel):
    """A part of the document: unknown keys and values of another type are refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        protected_namespaces=(),
        strict=True,
        allow_inf_nan=False,
    )


def aliased(name: str, *others: str) -> AliasChoices:
    """Return the spellings of one key; the first is ours."""
    return AliasChoices(name, *others)


def _whole(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip("+-").isdigit():
        plain = value.lstrip("+-0") or "0"
        octal = " (a leading 0 means octal to some)" if value.lstrip("+-") != plain else ""
        raise ValueError(f'the text "{value}" is no whole number{octal}; write {plain}')
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _switch(value: Any) -> Any:
    return _SWITCHES[value.lower()] if isinstance(value, str) and value in _SWITCH_WORDS else value


def _role(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(_ROLE, value):
        raise ValueError(
            f'"{value}" cannot name a role; write a lower-case letter, then letters, digits, _ or -, '
            "at most 63 in all: it stands in an address"
        )
    return value


def _items_or_share(value: int | float) -> int | float:
    if isinstance(value, float) and value >= 1:
        raise ValueError(
            f"{value} is neither a count nor a share; a count is whole, and a share lies below 1"
        )
    return value


def _gpus(value: Any) -> Any:
    value = [_whole(item) for item in value] if isinstance(value, list) else _whole(value)
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    ids = isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
    if value in ("all", "none") or whole or (ids and len(set(value)) == len(value)):
        return value
    raise ValueError(
        f"{value!r} names no GPUs; give all, none, a count, or a list of device ids such as [0, 1]"
    )


Whole = Annotated[int, BeforeValidator(_whole)]
# A further model's part in a task; it stands in paths: /aux/<role>/v1.
Role = Annotated[str, Field(pattern=_ROLE), BeforeValidator(_role)]
Switch = Annotated[
    bool,
    BeforeValidator(_switch),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": _SWITCH_WORDS}]}),
]
Limit = Annotated[
    int | float,
    BeforeValidator(_whole),
    AfterValidator(_items_or_share),
    Field(gt=0),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            ]
        }
    ),
]
Gpus = Annotated[
    Literal["all", "none"] | int | list[int],
    BeforeValidator(_gpus),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["all", "none"]},
                {"type": "integer", "minimum": 0},
                {"type": "array", "items": {"type": "integer", "minimum": 0}, "uniqueItems": True},
            ]
        }
    ),
]
