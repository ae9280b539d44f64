"""Paths and addresses of containers, said in terms of this machine: `/results` → the folder mounted there."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from evaldock.plan import SERVER_ALIAS
from evaldock_entrypoints.contract.errors import UsageError

LOOPBACK = "127.0.0.1"
_IDENTITY_FLAGS = frozenset(
    {"--eval_type", "--model_id", "--served_model_name"}
)  # names, even if like a path
_ADDRESS_FLAGS = frozenset({"--model_url"})
_OVERRIDES_FLAG = "--overrides"
# What may stand right before and right after a path for it to be one, and not a part of a longer word.
_BEFORE, _AFTER = r"(?:^|(?<=[=,:;\"'\[({]))", r"(?=\Z|[,:;\"'\])}])"
_BELOW = r"(?P<below>(?:/[^,:;\"'\])}]*)?)"
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./@%+~-]+")
_SERVER = re.compile(rf"(?P<scheme>\bhttps?://){SERVER_ALIAS}(?=[:/]|\Z)")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a unit finds what it knows by a container's path. has_server: `server` is the run's own."""

    paths: Mapping[str, str]  # path in the container → path here
    has_server: bool = False

    def argv(self, argv: Iterable[str]) -> list[str]:
        """Return the command line with every path and address translated; names stay as they are."""
        translated, flag = [], ""
        for item in argv:
            name, equals, value = item.partition("=")
            if equals and name in _IDENTITY_FLAGS | _ADDRESS_FLAGS | {_OVERRIDES_FLAG}:
                translated.append(f"{name}={self._value(name, value)}")
            else:
                translated.append(self._value(flag, item))
            flag = item
        return translated

    def text(self, text: str) -> str:
        """Return a text, such as a variable's value, with its paths and addresses translated."""
        return self.address(self._pattern.sub(lambda found: self._path(found), text))

    def address(self, text: str) -> str:
        """Return a text with the address of the run's own server translated."""
        return _SERVER.sub(rf"\g<scheme>{LOOPBACK}", text) if self.has_server else text

    def _value(self, flag: str, value: str) -> str:
        if flag in _IDENTITY_FLAGS:
            return value
        if flag in _ADDRESS_FLAGS:
            return self.address(value)
        if flag == _OVERRIDES_FLAG:
            return self.address(self._pattern.sub(lambda found: self._quoted(found, value), value))
        return self.text(value)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        targets = sorted(self.paths, key=len, reverse=True)  # /results/native before /results
        named = "|".join(re.escape(target) for target in targets) or r"(?!)"
        return re.compile(f"{_BEFORE}(?P<target>{named}){_BELOW}{_AFTER}")

    def _path(self, found: re.Match[str]) -> str:
        return self.paths[found["target"]] + found["below"]

    def _quoted(self, found: re.Match[str], whole: str) -> str:
        """Return the path as a value of `--overrides`: quoted where a comma or the like would end it."""
        path = self._path(found)
        if _PLAIN_VALUE.fullmatch(path):
            return path
        before, after = whole[: found.start()][-1:], whole[found.end() :][:1]
        quote = before if before and before == after and before in "'\"" else ""
        if "\n" in path or (quote == '"' and ('"' in path or "\\" in path)):
            raise UsageError(f"engine host cannot hand over the path {path!r}", next_step="rename the folder")
        if quote == '"':
            return path
        doubled = path.replace("'", "''")
        return doubled if quote else f"'{doubled}'"
