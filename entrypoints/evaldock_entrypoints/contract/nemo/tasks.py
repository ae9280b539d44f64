"""What a launcher document says per task and evaldock says once per run: endpoint type, adapter, data."""

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath
from evaldock_entrypoints.contract.nemo.draft import Branch, Draft, items_of
from evaldock_entrypoints.contract.nemo.run_config import NESTED

_TASKS = ("evaluation", "tasks")
_ENDPOINT = ("target", "api_endpoint")
_APART = "put tasks that differ into documents of their own, one run each"


def shared_by_all_tasks(draft: Draft) -> None:
    """Lift what all tasks agree about; raises UsageError where they do not."""
    _lift(draft, ("endpoint_type",), (*_ENDPOINT, "type"))
    _lift(draft, ("dataset_dir",), ("data", "path"))
    _lift(draft, (NESTED, "target"), ("target",))


def _lift(draft: Draft, key: KeyPath, to: KeyPath) -> None:
    owners: list[KeyPath] = [(*_TASKS, index) for index, _ in items_of(draft.at(*_TASKS))]
    having = [owner for owner in owners if draft.at(*owner, *key) not in (None, {})]
    if not having:
        _clear(draft, owners, key)
        return
    values = [draft.at(*owner, *key) for owner in owners]
    whole = isinstance(draft.at(*_TASKS), list)
    if not whole or any(value != values[0] for value in values):
        raise UsageError(
            f'"{key[-1]}" differs between tasks; a run has one endpoint, one adapter, one folder of data',
            where=draft.place((*having[0], *key)),
            next_step=_APART if whole else "set it for the whole run",
        )
    branch: Branch = draft.take(*having[0], *key)
    _clear(draft, owners, key)
    draft.put(to, branch, clash="replace")


def _clear(draft: Draft, owners: list[KeyPath], key: KeyPath) -> None:
    for owner in owners:
        if draft.has(*owner, *key):
            draft.take(*owner, *key)
