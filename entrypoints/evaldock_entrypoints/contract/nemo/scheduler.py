"""The `execution` and `export` sections of a launcher document."""

import re

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.nemo.draft import MISSING, Draft

_GRES = re.compile(r"gpu(?::[A-Za-z0-9_.-]*[A-Za-z][A-Za-z0-9_.-]*)?:(\d+)")
_SETTINGS = "exporters take their settings from the environment"
_AUTO_EXPORT = (
    "destinations",
    "configs",
    "enabled",
    "export_image",
    "export_mounts",
    "launcher_install_cmd",
)


def scheduler(draft: Draft) -> None:
    """GPUs of a node, and what happens with the results."""
    if draft.has("execution", "gres"):
        _gres(draft)
    if isinstance(draft.at("export"), dict):
        _exporter_settings(draft)
    if draft.has("execution", "auto_export"):
        _auto_export(draft)


def _gres(draft: Draft) -> None:
    where = draft.place(("execution", "gres"))
    gres = draft.take("execution", "gres")
    if gres.value is None or draft.at("execution", "gpus_per_node") is not None:
        return
    match = _GRES.fullmatch(str(gres.value))
    if gres.value == MISSING:
        draft.put(("execution", "gpus_per_node"), gres, clash="replace")
        return
    if match is None:
        raise UsageError(
            f'gres: "{gres.value}" is not a number of GPUs',
            where=where,
            next_step="write execution.gpus_per_node: N",
        )
    draft.put(("execution", "gpus_per_node"), gres.with_value(int(match[1])), clash="replace")


def _auto_export(draft: Draft) -> None:
    path = ("execution", "auto_export")
    if isinstance(draft.at(*path), dict):
        draft.refuse_unknown(path, _AUTO_EXPORT)
        for key in [key for key in draft.at(*path) if key != "destinations"]:
            draft.note((*path, key), _SETTINGS)
    given = draft.take(*path)
    if isinstance(given.value, dict):
        given = dict(given.parts()).get("destinations", given.with_value([]))
    if not given.value:
        return
    names = given.value if isinstance(given.value, list) else [given.value]
    if "local" in names:
        draft.note(
            path, "local: results.yml, summary.json and report.html are always written", where=given.origin
        )
        names = [name for name in names if name != "local"]
    if names:
        draft.put(("export",), given.with_value(names))


def _exporter_settings(draft: Draft) -> None:
    """`export` as a mapping holds the exporters' settings; a list is ours."""
    for key, part in draft.take("export").parts():
        if part.value:
            draft.note(("export", key), _SETTINGS, where=part.origin)
