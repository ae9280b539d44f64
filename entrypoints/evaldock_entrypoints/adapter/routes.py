"""Which model a path means: /t/<task>/v1/…, /t/<task>/aux/<role>/v1/…, and both without the task."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaldock_entrypoints.adapter.call import KINDS, Kind
from evaldock_entrypoints.adapter.front import Front

_KEPT = 1024  # paths whose meaning is remembered


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A model and a route of it. path: below /v1, or beside it."""

    front: Front
    path: str
    kind: Kind
    is_beside: bool  # such as /tokenize, which vLLM has beside /v1


class UnknownPathError(Exception):
    """No task or model stands under this path; the message names those that do."""


@dataclass(kw_only=True)
class Routes:
    """All models of all tasks. fronts: by task, then by role (None: the model under evaluation)."""

    fronts: Mapping[str, Mapping[str | None, Front]]
    _known: dict[tuple[str | None, str], Destination] = field(default_factory=dict)

    def find(self, path: str, bound_to: str | None) -> Destination:
        """Return what a path means on a listener that belongs to a task; raises UnknownPathError."""
        known = self._known.get((bound_to, path))
        if known is None:
            known = self._found(path, bound_to)
            if len(self._known) < _KEPT:
                self._known[bound_to, path] = known
        return known

    def _found(self, path: str, bound_to: str | None) -> Destination:
        task, rest = _taken(path, "t")
        role, rest = _taken(rest, "aux")
        named = task or bound_to or (next(iter(self.fronts)) if len(self.fronts) == 1 else "")
        if bound_to not in (None, named):
            raise UnknownPathError(f'this address belongs to the task "{bound_to}"')
        models = self.fronts.get(named)
        if models is None:
            raise UnknownPathError(f"no such task; the adapter has {', '.join(self.fronts)}")
        if role not in models:
            raise UnknownPathError(f'the task "{named}" has no auxiliary model "{role}"')
        return _destination(models[role], rest.rstrip("/"))


def _destination(front: Front, rest: str) -> Destination:
    is_beside = not (rest == "/v1" or rest.startswith("/v1/"))
    path = rest if is_beside else rest.removeprefix("/v1")
    kind = "other" if is_beside else KINDS.get(path, "other")
    return Destination(front=front, path=path, kind=kind, is_beside=is_beside)


def _taken(path: str, word: str) -> tuple[str | None, str]:
    """Split `/word/NAME` off a path."""
    prefix = f"/{word}/"
    if not path.startswith(prefix):
        return None, path
    name, _, rest = path.removeprefix(prefix).partition("/")
    return name, f"/{rest}"
