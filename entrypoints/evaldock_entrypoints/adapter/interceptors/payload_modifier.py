"""Removes, renames and adds fields and headers of each request."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.contract import request_interceptors as contract


class PayloadModifier(Interceptor[contract.PayloadModifier]):
    """Fields and headers: removed, then renamed, then added, so that what is added stays."""

    Config = contract.PayloadModifier

    def __init__(self, config: contract.PayloadModifier, context: Context) -> None:
        super().__init__(config, context)
        self._changes_body = bool(config.params_to_add or config.params_to_remove or config.params_to_rename)
        self._added_params = orjson.dumps(config.params_to_add)
        self._removed_headers = frozenset(name.lower() for name in config.headers_to_remove)
        self._renamed_headers = {a.lower(): b.lower() for a, b in config.headers_to_rename.items()}
        self._added_headers = {name.lower(): value for name, value in config.headers_to_add.items()}

    def on_request(self, call: Call) -> None:
        """Raise ValueError where the body is no JSON object."""
        if self._changes_body and (call.kind != "other" or call.body.tree is not None):
            self._change(call.body.edit())
        for name in self._removed_headers:
            call.headers.pop(name, None)
        for old, new in self._renamed_headers.items():
            if old in call.headers:
                call.headers[new] = call.headers.pop(old)
        call.headers.update(self._added_headers)

    def _change(self, tree: dict[str, Any]) -> None:
        if self.config.params_to_remove:
            _remove(tree, frozenset(self.config.params_to_remove))
        if self.config.params_to_rename:
            _rename(tree, self.config.params_to_rename)
        tree.update(orjson.loads(self._added_params))  # later steps may change what one request got


def _remove(value: Any, names: Collection[str]) -> None:
    if isinstance(value, dict):
        for name in value.keys() & names:
            del value[name]
    for item in _items(value):
        _remove(item, names)


def _rename(value: Any, names: Mapping[str, str]) -> None:
    if isinstance(value, dict):
        value.update([(names[old], value.pop(old)) for old in value.keys() & names.keys()])
    for item in _items(value):
        _rename(item, names)


def _items(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()
