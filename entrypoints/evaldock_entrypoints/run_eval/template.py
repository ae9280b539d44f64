"""Typed templates of framework.yml: placeholders keep their type, values are never shell text.

`"{params.seed}"` alone becomes the value itself (an int stays an int); inside a longer string it is
formatted. `{$by: endpoint.type, chat: A, completions: B}` picks one branch. A mapping entry or list item
whose template is a lone placeholder of value None is left out.
"""

import re
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError

HARNESS_GUIDE = "mend the harness folder; docs/adding-a-harness.md says what it holds"
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_.]*)\}")


def render(template: Any, values: dict[str, Any]) -> Any:
    """Return the template with every placeholder replaced; raises HarnessError on an unknown name."""
    match template:
        case str():
            return _render_string(template, values)
        case {"$by": str(path), **branches}:
            return render(_branch(path, branches, values), values)
        case dict():
            rendered = {key: render(value, values) for key, value in template.items()}
            return {key: value for key, value in rendered.items() if value is not None}
        case list():
            return [value for value in (render(item, values) for item in template) if value is not None]
        case _:
            return template


def lookup(path: str, values: dict[str, Any]) -> Any:
    """Return the value at a dotted path; raises HarnessError naming the path if there is none."""
    current: Any = values
    for part in path.split("."):
        if not isinstance(current, dict) or part not in current:
            raise HarnessError(
                f'framework.yml uses the unknown placeholder "{{{path}}}"',
                where="framework.yml of the harness",
                next_step=HARNESS_GUIDE,
            )
        current = current[part]
    return current


def _render_string(template: str, values: dict[str, Any]) -> Any:
    whole = _PLACEHOLDER.fullmatch(template)
    if whole:
        return lookup(whole[1], values)
    return _PLACEHOLDER.sub(lambda match: str(lookup(match[1], values)), template)


def _branch(path: str, branches: dict[Any, Any], values: dict[str, Any]) -> Any:
    key = lookup(path, values)
    if key not in branches:
        raise HarnessError(
            f"framework.yml has no branch for {path} = {key!r}",
            where="framework.yml of the harness",
            next_step=HARNESS_GUIDE,
        )
    return branches[key]
