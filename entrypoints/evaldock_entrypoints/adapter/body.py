"""A JSON body that is parsed only when somebody looks, and re-encoded only where somebody changed it."""

from functools import cached_property
from typing import Any

import orjson

from evaldock_entrypoints.adapter.splice import spliced


class Body:
    """Bytes on their way through the chain. `tree` is for reading, `edit()` for changing."""

    __slots__ = ("__dict__", "_edited", "raw")

    def __init__(self, raw: bytes, tree: dict[str, Any] | None = None) -> None:
        """tree: what the bytes say, where that was parsed already."""
        self.raw = raw  # as it came
        self._edited: dict[str, Any] | None = None
        if tree is not None:
            self.__dict__["_parsed"] = tree

    @cached_property
    def _parsed(self) -> dict[str, Any] | None:
        try:
            tree = orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return None
        return tree if isinstance(tree, dict) else None

    @property
    def tree(self) -> dict[str, Any] | None:
        """The JSON object as it stands now, for reading only; None where the body is no JSON object."""
        return self._edited if self._edited is not None else self._parsed

    def edit(self) -> dict[str, Any]:
        """Return the JSON object for changing it in place; raises ValueError where the body is none."""
        if self._edited is None:
            if self._parsed is None:
                raise ValueError("the body is no JSON object")
            self._edited = orjson.loads(self.raw)
        assert self._edited is not None
        return self._edited

    def encoded(self) -> bytes:
        """Return the bytes: the very ones that came, but for the fields that somebody changed."""
        if self._edited is None or self._parsed is None:
            return self.raw
        return spliced(self.raw, self._parsed, self._edited)
