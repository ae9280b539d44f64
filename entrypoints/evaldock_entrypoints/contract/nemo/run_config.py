"""The trees `config` and `target`: a run configuration, or below a launcher's evaluation."""

from typing import Any

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, dotted
from evaldock_entrypoints.contract.nemo.draft import Draft, items_of

NESTED = "nemo_evaluator_config"
_CONFIG = ("type", "output_dir", "params", "supported_endpoint_types", "required_capabilities")
_TASKS = ("evaluation", "tasks")
_WHY = {
    "output_dir": "output.dir says where results go, for all tasks",
    "supported_endpoint_types": "every task declares the endpoint types it works with",
    "required_capabilities": "every task declares what it needs, and the endpoint is asked before the run",
    "metadata": "results.yml and run.lock.yaml record what was run; free text is not kept",
}


def own_config(draft: Draft) -> None:
    """`config` at the top: the task, its parameters, the folder of results."""
    if not draft.has("config"):
        return
    if draft.mapping("config"):
        _refuse_unknown(draft, ("config",))
        name = _name_of_type(draft)
        _params(draft, ("config",), ("evaluation", "params"), name)
        if draft.has("config", "output_dir"):
            draft.put(("output", "dir"), draft.take("config", "output_dir"))
        _drop(draft, ("config",))
    if draft.has("config"):
        draft.take("config")


def _name_of_type(draft: Draft) -> str | None:
    if not draft.has("config", "type"):
        return None
    name = draft.take("config", "type")
    if name.value is None:
        return None
    if draft.has(*_TASKS):
        raise UsageError(
            "config.type names a task beside evaluation.tasks",
            where=f"{name.origin}  config.type\n  {draft.place(_TASKS)}",
            next_step="keep one of them",
        )
    draft.put(_TASKS, name.with_value([{"name": name.value}]))
    return str(name.value)


def nested_configs(draft: Draft) -> None:
    """`nemo_evaluator_config` of all tasks and of single ones, and its older spellings."""
    if draft.at("evaluation") == []:  # the launcher's own way to say "no tasks"
        draft.take("evaluation")
    _older_spellings(draft, ("evaluation",))
    _nested(draft, ("evaluation",), None)
    for index, task in items_of(draft.at(*_TASKS)):
        if isinstance(task, dict):
            path = (*_TASKS, index)
            _older_spellings(draft, path)
            _nested(draft, path, str(task["name"]) if "name" in task else None)


def _older_spellings(draft: Draft, owner: KeyPath) -> None:
    """`config` holds the same tree, `overrides` one with dotted keys."""
    if draft.has(*owner, "config"):
        draft.put((*owner, NESTED), draft.take(*owner, "config"))
    if draft.mapping(*owner, "overrides"):
        for key, part in draft.take(*owner, "overrides").parts():
            draft.put((*owner, NESTED, *str(key).lstrip("+").split(".")), part, clash="replace")
    elif draft.has(*owner, "overrides"):
        draft.take(*owner, "overrides")


def _nested(draft: Draft, owner: KeyPath, name: str | None) -> None:
    base = (*owner, NESTED)
    if draft.mapping(*base):
        draft.refuse_unknown(base, ("config", "target", "metadata"))
        if draft.mapping(*base, "config"):
            config = (*base, "config")
            _refuse_unknown(draft, config)
            _same_task(draft, (*config, "type"), name)
            _params(draft, config, (*owner, "params"), name)
            _drop(draft, config)
        _drop(draft, base)
        if owner == ("evaluation",) and draft.has(*base, "target"):
            draft.put(("target",), draft.take(*base, "target"), clash="replace")
    if not draft.has(*base, "target") and draft.has(*base):
        draft.take(*base)


def _params(draft: Draft, config: KeyPath, to: KeyPath, name: str | None) -> None:
    path = (*config, "params")
    if draft.mapping(*path):
        _same_task(draft, (*path, "task"), name)
        for below in (path, (*path, "extra")):
            _drop_nulls(draft, below, len(path), to)
    if draft.at(*path) is not None:
        draft.put(to, draft.take(*path), clash="replace")
    elif draft.has(*path):
        draft.take(*path)


def _drop_nulls(draft: Draft, owner: KeyPath, depth: int, to: KeyPath) -> None:
    """Drop nulls: to NeMo they mean "not set", and here they would unset the harness's own value."""
    values = draft.at(*owner)
    for key in [key for key, value in values.items() if value is None] if isinstance(values, dict) else []:
        path: KeyPath = (*owner, key)
        if path[depth:] == ("limit_samples",):  # all items, to both
            continue
        below = draft.at("evaluation", "params", *path[depth:])
        if to != ("evaluation", "params") and below is not None:
            raise UsageError(
                f"{dotted(path)}: null does not undo {below!r}, which is set for all tasks",
                where=draft.place(path),
                next_step="write the value that this task shall have",
            )
        draft.note(path, "null leaves the value that harness and task set")
        draft.take(*path)


def _same_task(draft: Draft, path: KeyPath, name: str | None) -> None:
    """Drop a second name of the task; raises UsageError where it names another benchmark."""
    if not draft.has(*path):
        return
    where = draft.place(path)
    wanted: Any = draft.take(*path).value
    if wanted is None or (name is not None and str(wanted) in (name, name.rpartition(".")[2])):
        return
    raise UsageError(
        f'{dotted(path)}: "{wanted}" is not the task that is evaluated' + (f' ("{name}")' if name else ""),
        where=where,
        next_step=f'remove it and name the task itself: "{wanted}", or "harness.{wanted}"',
    )


def _refuse_unknown(draft: Draft, config: KeyPath) -> None:
    if draft.has(*config, "target"):
        raise UsageError(
            "target stands below config, where nothing reads it",
            where=draft.place((*config, "target")),
            next_step="indent it less: target belongs beside config",
        )
    draft.refuse_unknown(config, _CONFIG)


def _drop(draft: Draft, owner: KeyPath) -> None:
    for key, why in _WHY.items():
        if draft.has(*owner, key):
            if draft.at(*owner, key) not in (None, [], {}):
                draft.note((*owner, key), why)
            draft.take(*owner, key)
