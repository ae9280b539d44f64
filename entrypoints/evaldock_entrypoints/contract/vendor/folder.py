"""A harness folder that names a vendor's wheel, as a whole framework.yml."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError, PinError
from evaldock_entrypoints.contract.vendor.definition import Definition, Tree, read_definition
from evaldock_entrypoints.contract.vendor.translation import Translation, translate
from evaldock_entrypoints.contract.vendor.wheel import Vendor

COPY = "vendor.yml"  # byte for byte what the wheel carries
API_KEY = "EVALDOCK_API_KEY"  # the variable of which the vendor's command is told
_PROGRESS = r"\|\s*(?P<done>\d+)/(?P<total>\d+) \["  # tqdm's, which nearly every wheel shows
OUTPUT = "vendor_output.json"  # what parse_output returned, below native/


def expand(tree: Mapping[str, Any], folder: Path) -> Tree:
    """Return framework.yml's keys with what the wheel's definition adds under them.

    The folder's params and extras go over the vendor's; its tasks, where it lists any, are the ones it has,
    each with the folder's keys over the vendor's. Raises HarnessError or PinError.
    """
    vendor = Vendor.model_validate(tree["vendor"])
    translated = translate(vendor_definition(folder, vendor), vendor.values, vendor.without)
    params = tree.get("params") or {}
    tasks = [_with_params(task, params) for task in translated.tasks]
    return {
        "repeats": translated.repeats,
        "phases": _phases(vendor),
        **tree,
        "params": {**translated.params, **params},
        "extras": {**translated.extras, **(tree.get("extras") or {})},
        "tasks": _chosen(tasks, tree["tasks"], translated, folder) if tree.get("tasks") else tasks,
    }


def vendor_definition(folder: Path, vendor: Vendor) -> Definition:
    """Return the committed copy of the wheel's definition; raises PinError where it is another one."""
    path = folder / COPY
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != vendor.sha256:
        raise PinError(
            f"{COPY} is not the definition that framework.yml pins",
            where=str(path),
            next_step="copy it anew from the wheel: python -m scripts.vendor WHEEL FOLDER",
        )
    return read_definition(content.decode(), str(path))


def _with_params(task: Tree, params: Mapping[str, Any]) -> Tree:
    """Return the task without the parameters that the folder sets for all of its tasks."""
    return {**task, "params": {key: value for key, value in task["params"].items() if key not in params}}


def _chosen(tasks: list[Tree], wanted: list[Tree], translated: Translation, folder: Path) -> list[Tree]:
    known = {task["name"]: task for task in tasks}
    for one in wanted:
        if one["name"] not in known:
            why = translated.refused.get(one["name"], "the wheel's definition has no such task")
            raise HarnessError(
                f'"{one["name"]}" cannot be had from the wheel: {why}',
                where=str(folder / "framework.yml"),
                next_step="leave the task out",
            )
    return [_laid_over(known[one["name"]], one) for one in wanted]


def _laid_over(below: Tree, above: Tree) -> Tree:
    merged = {key: {**below[key], **(above.get(key) or {})} for key in ("params", "extras")}
    return {**below, **above, **merged}


def _phases(vendor: Vendor) -> list[Tree]:
    """Return the two processes of every wheel: its command, and its own reading of what that wrote."""
    python = "/opt/harness/bin/python"
    job = "{paths.work}/vendor.json"
    return [
        {
            "name": "command",
            "argv": ["/bin/sh", "-euc", "{vendor.script}"],
            "env": {API_KEY: "{secret.api_key}", **vendor.env},
            "progress": _PROGRESS,
        },
        {
            "name": "output",
            "argv": [python, "-P", "{vendor.reader}", job],
            "files": {"vendor.json": "{vendor.job}"},
            "network": "none",
        },
    ]
