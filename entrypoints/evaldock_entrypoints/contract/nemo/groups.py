"""Hydra's `defaults` list, and groups named in place of a section (`-o deployment=vllm`)."""

from typing import Any

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.nemo.draft import Branch, Draft, Marks

_OPTIONS = {
    "execution": {
        "local": "local",
        "slurm": "slurm",
        "slurm/default": "slurm",
        "lepton": "lepton",
        "lepton/default": "lepton",
        "kubernetes": "kubernetes",
    },
    "deployment": {name: name for name in ("none", "vllm", "vllm_ray", "sglang", "nim", "trtllm", "generic")},
}
_TP_8 = "its tensor_parallel_size: 8 and port: 8000 are not taken over; unset keys have evaldock's defaults"
_GROUP_VALUES = {
    "slurm": "its partition: batch, gres: gpu:8 and walltime: 01:00:00 are not taken over; set what you need",
    "vllm": _TP_8 + ", and the server gets no --trust-remote-code",
    "vllm_ray": _TP_8 + ", and the server gets no --trust-remote-code",
    "sglang": _TP_8,
    "trtllm": _TP_8,
}


def groups(draft: Draft) -> None:
    """Read the groups as the types they stand for."""
    for section in _OPTIONS:
        if isinstance(draft.at(section), str):
            _choose(draft, section, draft.take(section))
    if draft.has("defaults"):
        items = draft.take("defaults")
        if not isinstance(items.value, list):
            raise UsageError("defaults is no list", where=f"{items.origin}  defaults")
        for index, item in enumerate(items.value):
            _item(draft, item, items.marks.nearest((index,)))


def _item(draft: Draft, item: Any, origin: str) -> None:
    if item in ("_self_", None):
        return
    entries = item if isinstance(item, dict) else {str(item): True}
    for key, option in entries.items():
        group = str(key).removeprefix("override ").lstrip("/")
        if option is None:
            continue
        if group not in _OPTIONS:
            raise _other_file(item, origin)
        _choose(draft, group, Branch(value=option, marks=Marks(origin=origin)))


def _choose(draft: Draft, group: str, option: Branch) -> None:
    chosen = _OPTIONS[group].get(str(option.value))
    if chosen is None:
        raise _other_file({group: option.value}, option.origin)
    draft.put((group, "type"), option.with_value(chosen), clash="keep")
    if chosen in _GROUP_VALUES:
        draft.note((group,), _GROUP_VALUES[chosen], where=option.origin)


def _other_file(item: Any, origin: str) -> UsageError:
    shown = ", ".join(f"{key}: {value}" for key, value in item.items()) if isinstance(item, dict) else item
    if "auxiliary_deployments" in str(shown):
        return UsageError(
            f'defaults: "{shown}" starts a second model, and one run starts one model',
            where=origin,
            next_step="start the other model first and name it: target.auxiliary.judge: {url, model_id}",
        )
    return UsageError(
        f'defaults: "{shown}" stands for a file that is not read',
        where=origin,
        next_step="write its values here, or lay documents over each other: evaldock run base.yaml this.yaml",
    )
