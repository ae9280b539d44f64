"""One layer as NeMo writes it, in evaldock's keys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, dotted
from evaldock_entrypoints.contract.nemo.alike import alike
from evaldock_entrypoints.contract.nemo.draft import MISSING, Draft, Note, items_of, leaves, value_at
from evaldock_entrypoints.contract.nemo.endpoint import endpoint
from evaldock_entrypoints.contract.nemo.environment import environment
from evaldock_entrypoints.contract.nemo.groups import groups
from evaldock_entrypoints.contract.nemo.rows import DROPPED, MOVED, REFUSED, ROWS
from evaldock_entrypoints.contract.nemo.run_config import NESTED, nested_configs, own_config
from evaldock_entrypoints.contract.nemo.scheduler import scheduler
from evaldock_entrypoints.contract.nemo.server import MODEL_KEYS, server
from evaldock_entrypoints.contract.nemo.tasks import shared_by_all_tasks

_TASK = "evaluation.tasks.*"
_NESTED = tuple(
    f"{owner}.{key}" for owner in ("evaluation", _TASK) for key in (NESTED, "config", "overrides", "env_vars")
)
_OWN_CODE = (
    *("config", "defaults", "env_vars", "global_adapter_config", "deployment.env_vars", "execution.env_vars"),
    *("deployment.endpoints", "deployment.multiple_instances", "execution.gres", "execution.auto_export"),
    *(f"{_TASK}.endpoint_type", f"{_TASK}.dataset_dir", *_NESTED),
)
_LAUNCHERS = ("defaults", "env_vars", "auxiliary_deployments", "execution", "deployment", "evaluation")
KEYS = (*_OWN_CODE, *(row.key for row in ROWS))  # that only NeMo has


@dataclass(frozen=True, kw_only=True)
class Translation:
    """The layer in evaldock's keys, what has no meaning here, and the keys that another layer must set."""

    layer: Layer
    notes: tuple[Note, ...] = ()
    unset: Mapping[KeyPath, str] = field(default_factory=dict)  # key → where it was left open


def is_nemo(tree: dict[Any, Any]) -> bool:
    """Tell whether the tree holds anything that only NeMo Evaluator writes."""
    draft = Draft(Layer(tree=tree))
    return any(True for key in KEYS for _ in draft.matches(key)) or any(form(tree) for form in _FORMS)


def is_launcher(tree: dict[Any, Any]) -> bool:
    """Tell whether the tree is one of the launcher's, where OmegaConf fills `${…}`."""
    draft = Draft(Layer(tree=tree))
    keys = [key for key in KEYS if key.partition(".")[0] in _LAUNCHERS]
    return _has_omegaconf(tree) or any(True for key in keys for _ in draft.matches(key))


def translate(layer: Layer) -> Translation:
    """Return the layer in evaldock's keys, every value with its origin.

    Raises UsageError for what must not be dropped. Keys that NeMo does not know either stay, and validation
    refuses them. A layer of our own is returned as it is. `???` leaves a key unset and `${…}` stays: only all
    layers together tell their values (see `read`).
    """
    if not is_nemo(layer.tree):
        return Translation(layer=layer)
    draft = Draft(layer)
    for step in _STEPS:
        step(draft)
    open_keys = [path for path, value in leaves(draft.tree) if value == MISSING]
    unset = {path: draft.origin(path) for path in open_keys}
    for path in unset:
        _leave_out(draft, path)
    return Translation(layer=draft.layer(), notes=tuple(sorted(draft.notes, key=_line)), unset=unset)


def _line(note: Note) -> int:
    line = note.where.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


def _leave_out(draft: Draft, path: KeyPath) -> None:
    if isinstance(path[-1], int):
        raise UsageError(f"{dotted(path)} must be set", where=draft.place(path), next_step="write its value")
    draft.take(*path)


def _moved(draft: Draft) -> None:
    for row in MOVED:
        for path in list(draft.matches(row.key)):
            parts = iter(part for part in path if isinstance(part, int))
            to = tuple(next(parts) if part == "*" else part for part in row.to.split("."))
            draft.put(to, draft.take(*path))


def _dropped(draft: Draft) -> None:
    for row in DROPPED:
        for path in list(draft.matches(row.key)):
            if not _is_empty(draft.at(*path)):
                draft.note(path, row.why)
            draft.take(*path)


def _refused(draft: Draft) -> None:
    for row in REFUSED:
        for path in list(draft.matches(row.key)):
            if not _is_empty(draft.at(*path)):
                raise UsageError(
                    f"{dotted(path)}: {row.why}", where=draft.place(path), next_step=row.next_step
                )
            draft.take(*path)


def _is_empty(value: Any) -> bool:
    return value in (None, "", False) or value == {} or value == []


_STEPS: tuple[Callable[[Draft], None], ...] = (
    groups,
    nested_configs,
    own_config,
    shared_by_all_tasks,
    endpoint,
    environment,
    server,
    scheduler,
    _moved,
    _refused,
    _dropped,
    alike,
)


def _has_section_as_word(tree: dict[Any, Any]) -> bool:
    return any(isinstance(tree.get(section), str) for section in ("deployment", "execution"))


def _has_shell_words(tree: dict[Any, Any]) -> bool:
    return any(isinstance(value_at(tree, ("deployment", key)), str) for key in ("extra_args", "command"))


def _has_two_model_keys(tree: dict[Any, Any]) -> bool:
    deployment = tree.get("deployment")
    return isinstance(deployment, dict) and sum(key in deployment for key in MODEL_KEYS) > 1


def _has_exporter_settings(tree: dict[Any, Any]) -> bool:
    return isinstance(tree.get("export"), dict)


def _has_older_words(tree: dict[Any, Any]) -> bool:
    type_of_endpoint = value_at(tree, ("target", "api_endpoint", "type"))
    return type_of_endpoint in ("vlm", "undefined") or value_at(tree, ("deployment", "type")) == "vllm_ray"


def _has_steps_by_name(tree: dict[Any, Any]) -> bool:
    adapter = value_at(tree, ("target", "api_endpoint", "adapter_config"))
    chains = [value_at(adapter, (key,)) for key in ("interceptors", "post_eval_hooks")]
    return any(isinstance(step, str) for chain in chains for _, step in items_of(chain))


def _has_omegaconf(tree: dict[Any, Any]) -> bool:
    texts = [value for _, value in leaves(tree) if isinstance(value, str)]
    return any(text == MISSING or "${oc." in text for text in texts)


_FORMS: tuple[Callable[[dict[Any, Any]], bool], ...] = (
    _has_section_as_word,
    _has_shell_words,
    _has_two_model_keys,
    _has_exporter_settings,
    _has_older_words,
    _has_steps_by_name,
    _has_omegaconf,
)
