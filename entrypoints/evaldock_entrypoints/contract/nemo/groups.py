"""Hydra's `defaults` list, and groups named in place of a section (`-o deployment=vllm`)."""

from collections.abc import Iterator
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
# Values that a group sets in NeMo, with the spellings that a document may set them by.
_TP_8: dict[str, tuple[str, ...]] = {
    "tensor_parallel_size: 8": ("tensor_parallel_size", "tensor_parallelism", "tensor_model_parallel_size")
}
_GROUP_VALUES: dict[str, dict[str, tuple[str, ...]]] = {
    "slurm": {
        "partition: batch": ("partition",),
        "gres: gpu:8": ("gres", "gpus_per_node"),
        "walltime: 01:00:00": ("walltime", "time_limit"),
    },
    "vllm": _TP_8,
    "vllm_ray": _TP_8,
    "sglang": _TP_8,
    "trtllm": _TP_8,
}
_TRUSTING = ("vllm", "vllm_ray", "trtllm")  # their groups always trust the model's own code


def groups(draft: Draft) -> None:
    """Read the groups as the types they stand for."""
    for section in _OPTIONS:
        if isinstance(draft.at(section), str):
            _choose(draft, section, draft.take(section))
    if draft.has("defaults"):
        items = draft.take("defaults")
        if not isinstance(items.value, list):
            raise UsageError(
                "defaults is no list", where=f"{items.origin}  defaults", next_step="write [item, item]"
            )
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
    if left := list(_left_to_the_group(draft, group, chosen)):
        draft.note((group,), f"not taken over from NeMo's group: {', '.join(left)}", where=option.origin)


def _left_to_the_group(draft: Draft, group: str, chosen: str) -> Iterator[str]:
    """Yield what the group sets and the document does not."""
    for shown, keys in _GROUP_VALUES.get(chosen, {}).items():
        if not any(draft.has(group, key) for key in keys):
            yield shown
    if chosen in _TRUSTING and "trust" not in str(draft.at(group, "extra_args")):
        yield "--trust-remote-code"


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
