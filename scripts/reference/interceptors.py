"""docs/reference/interceptors.md: the settings of every interceptor, from the models."""

import inspect

from pydantic import BaseModel
from scripts.reference.keys import row
from scripts.reference.markdown import code, page, section, table

from evaldock_entrypoints.contract.built_in_interceptors import ALIASES, BUILT_IN, IDLE_SETTINGS, BuiltIn
from evaldock_entrypoints.contract.target import Interceptor

_INTRODUCTION = """\
What stands under `config` of each interceptor in `adapter_config.interceptors`. Unknown keys are errors. What
interceptors are for, and in which order they act: [interceptors](../interceptors/index.md)."""
_HEADS = ("key", "value", "default", "meaning")


def text() -> str:
    """Return the page."""
    entry = section("Each entry", table(_HEADS, _rows(Interceptor)))
    return page("Interceptors", _INTRODUCTION, [entry, *map(_section, BUILT_IN, BUILT_IN.values())])


def _section(name: str, built_in: BuiltIn) -> str:
    others = [other for other, ours in ALIASES.items() if ours == name]
    return section(
        name,
        f"{inspect.getdoc(built_in.settings)} [More, with an example](../interceptors/{name}.md).",
        f"Also called {code(others[0])}." if others else "",
        table(_HEADS, _rows(built_in.settings)),
        _idle(name),
    )


def _rows(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    return [row(name, name, info, {}) for name, info in model.model_fields.items()]


def _idle(name: str) -> str:
    """Return the keys of other adapters that are taken and have no effect."""
    keys = IDLE_SETTINGS.get(name, {})
    return f"Taken, noted, without effect: {', '.join(map(code, keys))}." if keys else ""
