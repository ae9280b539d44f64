"""Which values may stand in a shell script that somebody else wrote."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Nothing in it means anything to a shell: no blank, quote, $ ` ; | & < > ( ) { } [ ] * ? # ! ~ or \
_WORD = re.compile(r"[A-Za-z0-9_./:@%+=,-]+", re.ASCII)
SAFE_SET = "letters, digits and _ . / : @ % + = , -"


def is_safe(value: object) -> bool:
    """Tell whether the value is a number, a truth value or one word that no shell interprets."""
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return isinstance(value, (bool, int, float))


def is_safe_argument(value: object) -> bool:
    """Tell whether the value is safe, and can be neither a program's option nor a way out of a folder."""
    if isinstance(value, str) and (value.startswith("-") or ".." in value.split("/")):
        return False
    return is_safe(value)


def leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of everything that is no mapping."""
    for key, value in tree.items():
        inner = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from leaves(value, inner)
        else:
            yield inner, value
