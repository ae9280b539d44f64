"""All layers of a command, as NeMo writes them, in evaldock's keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, Merged, dotted, merge
from evaldock_entrypoints.contract.nemo.draft import Draft, Note, items_of, leaves, value_at
from evaldock_entrypoints.contract.nemo.interpolation import Interpolation
from evaldock_entrypoints.contract.nemo.translation import Translation, is_launcher, is_nemo, translate
from evaldock_entrypoints.contract.validation import canonical, nearest

_TASKS = ("evaluation", "tasks")
_ARGUMENTS = (("deployment", "extra_args"), ("deployment", "command"))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The layers in evaldock's keys, and what has no meaning here."""

    layers: tuple[Layer, ...]
    notes: tuple[Note, ...] = ()


def read(layers: Sequence[Layer], environ: Mapping[str, str]) -> Reading:
    """Translate every layer, fill `${…}`, and demand what `???` leaves open; raises UsageError.

    Layers of our own are returned as they are. To be called before aliases are replaced and layers merged.
    """
    layers = _tasks_by_index(layers)
    if not any(is_nemo(layer.tree) for layer in layers):
        return Reading(layers=tuple(layers))
    translations = [translate(layer) for layer in layers]
    translated = [translation.layer for translation in translations]
    if any(is_launcher(layer.tree) for layer in layers):
        interpolation = Interpolation(merge(layers).tree, environ)
        translated = [_filled(layer, interpolation) for layer in translated]
    _refuse_unset(translations, translated)
    notes = {(note.key, note.where): note for translation in translations for note in translation.notes}
    return Reading(layers=tuple(translated), notes=tuple(notes.values()))


def _filled(layer: Layer, interpolation: Interpolation) -> Layer:
    draft = Draft(layer)
    for path, text in list(leaves(draft.tree)):
        if isinstance(text, str) and "${" in text:
            value = interpolation.value(text, draft.place(path))
            value_at(draft.tree, path[:-1])[path[-1]] = str(value) if path[:2] in _ARGUMENTS else value
    return draft.layer()


def _refuse_unset(translations: Sequence[Translation], layers: Sequence[Layer]) -> None:
    """Raise UsageError for a key that a layer leaves to be set, and none sets."""
    if not any(translation.unset for translation in translations):
        return
    merged = merge([canonical(layer, Document) for layer in layers])
    for translation in translations:
        for path, where in translation.unset.items():
            if value_at(merged.tree, _our_names(path)) is None and not _is_replaced(
                translation, path, merged
            ):
                raise UsageError(
                    f"{dotted(path)} must be set",
                    where=where,
                    next_step=f"write its value, or add -o {dotted(path)}=VALUE",
                )


def _our_names(path: KeyPath) -> KeyPath:
    tree: Any = ""
    for part in reversed(path):
        tree = [tree] if isinstance(part, int) else {part: tree}
    renamed = next(leaves(canonical(Layer(tree=tree), Document).tree))[0]
    return tuple(old if isinstance(old, int) else new for old, new in zip(path, renamed, strict=True))


def _is_replaced(translation: Translation, path: KeyPath, merged: Merged) -> bool:
    """Tell whether a later layer wrote the whole list that the key stands in."""
    lists = [path[:end] for end, part in enumerate(path) if isinstance(part, int)]
    return any(merged.origin(known) != translation.layer.origin(known) for known in lists)


def _tasks_by_index(layers: Sequence[Layer]) -> list[Layer]:
    """Read `-o evaluation.tasks.NAME.…` as an override of the task of that name in an earlier layer."""
    names: list[str] = []
    result = []
    for layer in layers:
        tasks = value_at(layer.tree, _TASKS)
        if isinstance(tasks, list):
            names = [str(task.get("name") if isinstance(task, dict) else task) for task in tasks]
        elif isinstance(tasks, dict) and len(items_of(tasks)) < len(tasks):
            layer = _indexed(layer, tasks, names)
        result.append(layer)
    return result


def _indexed(layer: Layer, tasks: Mapping[Any, Any], names: Sequence[str]) -> Layer:
    draft = Draft(layer)
    for key in [key for key in tasks if not isinstance(key, int)]:
        name = next((name for name in names if _is_or_begins(name, key, tasks[key])), key)
        path = (*_TASKS, *_name_parts(name, key))
        if name not in names:
            raise UsageError(
                f'no task "{key}" to override', where=draft.place(path), next_step=nearest(key, names)
            )
        branch = draft.take(*path)
        draft.put((*_TASKS, names.index(name)), branch, clash="replace")
    return replace(draft.layer(), name=layer.name)


def _is_or_begins(name: str, key: str, below: Any) -> bool:
    first, dot, rest = name.partition(".")
    return name == key or bool(dot and first == key and isinstance(below, dict) and rest in below)


def _name_parts(name: str, key: str) -> tuple[str, ...]:
    return (key,) if name == key else tuple(name.split(".", 1))
