"""From what a person wrote (documents, flags, overrides) to one merged tree."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaldock_entrypoints.contract import nemo
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.layers import KeyPath, Layer, Merged, merge
from evaldock_entrypoints.contract.secrets import named_keys, take_keys
from evaldock_entrypoints.contract.validation import canonical

NO_OVERRIDES = Layer(tree={}, name="-o")


@dataclass(frozen=True, kw_only=True)
class Read:
    """The merged tree, what is to be said about it, and keys that were given instead of named."""

    merged: Merged
    notes: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)  # variable → value; never to be written


def read(
    documents: Sequence[Layer],
    *,
    flags: Layer,
    overrides: Layer = NO_OVERRIDES,
    environ: Mapping[str, str],
) -> Read:
    """Merge documents in order, then flags, then overrides; raises UsageError.

    NeMo's spellings are translated and aliases replaced. Parameters for every task that stand in flags or
    overrides go over those that a document sets for one task. environ: what `${oc.env:NAME}` stands for.
    """
    given = take_keys(overrides, named_keys(documents))
    reading = nemo.read([*documents, flags, given.layer], environ)
    layers = [canonical(layer, Document) for layer in reading.layers]
    later = layers[len(documents) :]
    merged = merge(layers)
    every = [_over_every_task(layer, merged) for layer in later]
    notes = [f"{note.where}  {note.key}: {note.message}" for note in reading.notes]
    return Read(
        merged=merge([*layers, *every, *map(_items_only, later)]),
        notes=(*given.warnings, *notes),
        keys=given.values,
    )


def _over_every_task(layer: Layer, merged: Merged) -> Layer:
    """Return the layer's evaluation.params as the own parameters of each task."""
    params = _get(layer.tree, ("evaluation", "params"))
    tasks = _get(merged.tree, ("evaluation", "tasks"))
    if not isinstance(params, dict) or not isinstance(tasks, list):
        return Layer(tree={})
    origins = {
        ("evaluation", "tasks", index, "params", *path[2:]): where
        for path, where in layer.origins.items()
        if path[:2] == ("evaluation", "params")
        for index in range(len(tasks))
    }
    items: dict[Any, Any] = {index: {"params": params} for index in range(len(tasks))}
    return Layer(tree={"evaluation": {"tasks": items}} if items else {}, origins=origins, name=layer.name)


def _items_only(layer: Layer) -> Layer:
    """Return what the layer sets for single tasks, which goes over what it sets for every task."""
    items = _get(layer.tree, ("evaluation", "tasks"))
    if not isinstance(items, dict):
        return Layer(tree={})
    return Layer(tree={"evaluation": {"tasks": items}}, origins=layer.origins, name=layer.name)


def _get(tree: Any, path: Iterable[str]) -> Any:
    for part in path:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def flag_layer(values: Mapping[KeyPath, tuple[str, Any]]) -> Layer:
    """Return the layer of flags: path of the document → (the flag, its value); None is not given."""
    tree: dict[str, Any] = {}
    for path, (_, value) in values.items():
        if value is None:
            continue
        place = tree
        for part in path[:-1]:
            place = place.setdefault(str(part), {})
        place[str(path[-1])] = value
    origins = {path: flag for path, (flag, value) in values.items() if value is not None}
    return Layer(tree=tree, origins=origins, name="flag")
