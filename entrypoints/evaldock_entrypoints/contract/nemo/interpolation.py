"""OmegaConf's `${…}`: values of other keys and of the environment, in launcher documents."""

import re
from collections.abc import Mapping
from typing import Any

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath
from evaldock_entrypoints.contract.nemo.draft import MISSING, copied, value_at

_KEY = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\[[\w-]+\])*")
_PART = re.compile(r"[\w-]+")
_SECRET = re.compile(r"(KEY|TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIALS?)$", re.IGNORECASE)
_MAX_DEPTH = 10


class Interpolation:
    """Fills `${…}` from a tree of NeMo's keys and from the environment."""

    def __init__(self, tree: Mapping[Any, Any], environ: Mapping[str, str]) -> None:
        self._tree = tree
        self._environ = environ

    def value(self, text: str, where: str, depth: int = 0) -> Any:
        """Return the text with its interpolations filled; where one is the whole text, its value."""
        if depth > _MAX_DEPTH:
            raise UsageError("${…} leads back to itself", where=where, next_step="write its value")
        pieces = _pieces(text, where)
        if len(pieces) == 1 and pieces[0][0]:
            return self._named(self._inner(pieces[0][1], where, depth), where, depth)
        filled = [
            str(self._named(self._inner(piece, where, depth), where, depth)) if is_name else piece
            for is_name, piece in pieces
        ]
        return "".join(filled)

    def _inner(self, name: str, where: str, depth: int) -> str:
        return str(self.value(name, where, depth + 1)) if "${" in name else name

    def _named(self, name: str, where: str, depth: int) -> Any:
        if name.startswith("oc.env:"):
            return self._variable(name.removeprefix("oc.env:"), where)
        if not _KEY.fullmatch(name):
            raise UsageError(f'"${{{name}}}" cannot be read here', where=where, next_step="write its value")
        path: KeyPath = tuple(int(part) if part.isdigit() else part for part in _PART.findall(name))
        value = value_at(self._tree, path)
        if value is None or value == MISSING:
            raise UsageError(
                f'"${{{name}}}": the documents do not set {name}',
                where=where,
                next_step=f"set {name}, or write its value here",
            )
        return self.value(value, where, depth + 1) if isinstance(value, str) else copied(value)

    def _variable(self, name_and_default: str, where: str) -> str:
        name, has_default, default = name_and_default.partition(",")
        name = name.strip()
        if _SECRET.search(name):
            raise UsageError(
                f'"${{oc.env:{name}}}" would write a secret into the document',
                where=where,
                next_step=f"name the variable instead: api_key_name: {name}",
            )
        if name in self._environ:
            return self._environ[name]
        if has_default:
            return default.strip().strip("'\"")
        raise UsageError(f'the variable "{name}" is not set', where=where, next_step=f"export {name}=…")


def _pieces(text: str, where: str) -> list[tuple[bool, str]]:
    r"""Return (is an interpolation, its inside or plain text); `\${` is plain."""
    pieces: list[tuple[bool, str]] = []
    plain, at = "", 0
    while at < len(text):
        if text.startswith("\\${", at):
            plain, at = plain + "${", at + 3
        elif text.startswith("${", at):
            end = _end(text, at + 2, where)
            pieces += [(False, plain)] if plain else []
            pieces.append((True, text[at + 2 : end]))
            plain, at = "", end + 1
        else:
            plain, at = plain + text[at], at + 1
    return [*pieces, (False, plain)] if plain else pieces


def _end(text: str, at: int, where: str) -> int:
    depth = 1
    for index in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise UsageError("a brace of ${…} is not closed", where=where, next_step="close it")
