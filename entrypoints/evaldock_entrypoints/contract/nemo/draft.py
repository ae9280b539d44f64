"""A layer while it is translated: values move from one place to another, with their origins."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, dotted
from evaldock_entrypoints.contract.validation import nearest

MISSING = "???"  # OmegaConf's mark of a value that must be given
_AS_MAPPING = "write key: value below it"
Clash = Literal["keep", "replace", "refuse"]


@dataclass(frozen=True, kw_only=True)
class Note:
    """A key of the document that has no meaning here, or another one."""

    key: str
    where: str
    message: str


@dataclass(kw_only=True)
class Marks:
    """Where a value was written, and where its parts were."""

    origin: str = ""
    below: dict[str | int, "Marks"] = field(default_factory=dict)

    def at(self, path: KeyPath) -> "Marks":
        """Return the marks of a part, made where there are none."""
        marks = self
        for key in path:
            marks = marks.below.setdefault(key, Marks())
        return marks

    def nearest(self, path: KeyPath) -> str:
        """Return where the part, or its nearest parent that is known, was written."""
        marks, origin = self, self.origin
        for key in path:
            if key not in marks.below:
                break
            marks = marks.below[key]
            origin = marks.origin or origin
        return origin

    def flat(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
        """Yield every known origin with its path."""
        if self.origin:
            yield path, self.origin
        for key, marks in self.below.items():
            yield from marks.flat((*path, key))


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A value that was taken out of a layer, with its marks."""

    value: Any
    marks: Marks

    @property
    def origin(self) -> str:
        return self.marks.origin

    def parts(self) -> Iterator[tuple[str, "Branch"]]:
        """Yield the entries of a mapping."""
        for key, value in self.value.items():
            marks = self.marks.at((key,))
            marks.origin = marks.origin or self.origin
            yield key, Branch(value=value, marks=marks)

    def with_value(self, value: Any) -> "Branch":
        """Return another value that stands where this one stood."""
        return Branch(value=value, marks=Marks(origin=self.origin))


class Draft:
    """The working copy of one layer."""

    def __init__(self, layer: Layer) -> None:
        self.tree: dict[Any, Any] = copied(layer.tree)
        self.notes: list[Note] = []
        self._name = layer.name
        self._marks = Marks()
        for path, origin in layer.origins.items():
            self._marks.at(path).origin = origin

    def layer(self) -> Layer:
        """Return the layer as it is now."""
        return Layer(tree=self.tree, origins=dict(self._marks.flat()), name=self._name)

    def has(self, *path: str | int) -> bool:
        parent = value_at(self.tree, path[:-1])
        if isinstance(parent, list):
            return isinstance(path[-1], int) and path[-1] < len(parent)
        return isinstance(parent, dict) and path[-1] in parent

    def at(self, *path: str | int) -> Any:
        """Return the value at the path, None where there is none."""
        return value_at(self.tree, path)

    def matches(self, pattern: str) -> Iterator[KeyPath]:
        """Yield the paths of `a.*.b` that are there; * stands for an item of a list."""
        paths: list[KeyPath] = [()]
        for part in pattern.split("."):
            paths = [(*path, key) for path in paths for key in self._keys(path, part) if self.has(*path, key)]
        yield from paths

    def _keys(self, path: KeyPath, part: str) -> list[str | int]:
        return [index for index, _ in items_of(self.at(*path))] if part == "*" else [part]

    def take(self, *path: str | int) -> Branch:
        """Remove the value at the path and return it; mappings that become empty go too."""
        origin = self.origin(path)
        marks = self._marks.at(path[:-1]).below.pop(path[-1], Marks())
        marks.origin = marks.origin or origin
        value = value_at(self.tree, path[:-1]).pop(path[-1])
        self._prune(path[:-1])
        return Branch(value=value, marks=marks)

    def _prune(self, path: KeyPath) -> None:
        while path and value_at(self.tree, path) == {} and isinstance(value_at(self.tree, path[:-1]), dict):
            del value_at(self.tree, path[:-1])[path[-1]]
            self._marks.at(path[:-1]).below.pop(path[-1], None)
            path = path[:-1]

    def put(self, path: KeyPath, branch: Branch, *, clash: Clash = "refuse") -> None:
        """Put the value at the path, merging mappings; `clash` says what becomes of two different values."""
        parent = self._parent(path, branch)
        here = parent.get(path[-1]) if isinstance(parent, dict) else parent[path[-1]]
        if isinstance(here, dict) and isinstance(branch.value, dict):
            for key, part in branch.parts():
                self.put((*path, key), part, clash=clash)
        elif not self.has(*path) or (clash == "replace" and here != branch.value):
            parent[path[-1]] = branch.value
            self._marks.at(path[:-1]).below[path[-1]] = branch.marks
        elif clash == "refuse" and here != branch.value:
            raise UsageError(
                f'"{dotted(path)}" stands there twice, once in its NeMo spelling',
                where=f"{branch.origin}\n  {self.place(path)}",
                next_step="keep one of them",
            )

    def _parent(self, path: KeyPath, branch: Branch) -> Any:
        node: Any = self.tree
        for depth, key in enumerate(path):
            if not (isinstance(node, dict) or (isinstance(node, list) and isinstance(key, int))):
                raise UsageError(
                    f"{dotted(path[:depth])} is no mapping of keys",
                    where=branch.origin,
                    next_step=_AS_MAPPING,
                )
            if depth == len(path) - 1:
                break
            if isinstance(node, dict) and node.get(key) is None:
                node[key] = {}
            node = node[key]
        return node

    def origin(self, path: KeyPath) -> str:
        """Return where the value at the path was written."""
        return self._marks.nearest(path) or self._name

    def place(self, path: KeyPath) -> str:
        """Return `file:line  dotted.key`, for the second line of an error."""
        return "  ".join(part for part in (self.origin(path), dotted(path)) if part)

    def note(self, path: KeyPath, message: str, *, where: str | None = None) -> None:
        """Say something about the key at the path."""
        self.notes.append(Note(key=dotted(path), where=where or self.origin(path), message=message))

    def mapping(self, *path: str | int) -> bool:
        """Tell whether a non-empty mapping stands at the path; raises UsageError for anything but null."""
        value = self.at(*path)
        if value is not None and not isinstance(value, dict):
            raise UsageError(
                f"{dotted(path)} is no mapping of keys", where=self.place(path), next_step=_AS_MAPPING
            )
        return bool(value)

    def refuse_unknown(self, path: KeyPath, known: tuple[str, ...]) -> None:
        """Raise UsageError for a key of the mapping at the path that NeMo does not know either."""
        for key in self.at(*path):
            if key not in known:
                raise UsageError(
                    f'unknown key "{key}"',
                    where=self.place((*path, key)),
                    next_step=nearest(str(key), known),
                )


def value_at(tree: Any, path: KeyPath) -> Any:
    """Return the value at the path, None where there is none."""
    for part in path:
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return None
    return tree


def items_of(value: Any) -> list[tuple[int, Any]]:
    """Return the numbered items of a list, or of the overrides of some of its items."""
    if isinstance(value, list):
        return list(enumerate(value))
    items = value.items() if isinstance(value, dict) else []
    return [(key, item) for key, item in items if isinstance(key, int)]


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield (path, value) of everything that is no mapping and no list."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def copied(value: Any) -> Any:
    """Return the value with its mappings and lists copied."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value
