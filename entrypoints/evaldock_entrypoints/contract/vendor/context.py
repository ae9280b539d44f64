"""What the vendor's template sees: an entry's own values, and ours laid over them."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from jinja2.utils import htmlsafe_json_dumps

from evaldock_entrypoints.contract.vendor.definition import Entry, Tree
from evaldock_entrypoints.contract.vendor.safe import leaves

EXTRA = "config.params.extra."
# What stands in an extra that describes a further model, and who gives it here.
MODEL_KEYS = {"url", "model_id"}
MODEL_OWN_KEYS = MODEL_KEYS | {"api_key", "api_key_name", "max_retries", "request_timeout"}


def command_context(entry: Entry, values: Mapping[str, Any]) -> Tree:
    """Return the tree of the template's names, with `values` (dotted key → value) over the entry's own."""
    params = {**entry.params, "task": entry.task, "extra": deepcopy(entry.extra)}
    tree: Tree = {
        "config": {"type": entry.name, "params": params},
        "target": {"api_endpoint": {"stream": False, **entry.endpoint}},
    }
    for key, value in values.items():
        *path, last = key.split(".")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return tree


def roles_of(entry: Entry) -> list[str]:
    """Return the further models that the entry describes among its extras, such as "judge"."""
    return [
        name for name, value in entry.extra.items() if isinstance(value, dict) and value.keys() >= MODEL_KEYS
    ]


def vendor_texts(entry: Entry) -> set[str]:
    """Return the texts that the wheel itself puts into its command."""
    own = {"task": entry.task, "type": entry.name, "extra": entry.extra, "endpoint": entry.endpoint}
    words = {str(value) for _, value in leaves(own) if isinstance(value, str)}
    trees = [value for value in entry.extra.values() if isinstance(value, dict)]
    return words | {str(htmlsafe_json_dumps(tree, sort_keys=True)) for tree in trees}  # as the filter tojson
