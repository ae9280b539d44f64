"""Serving backends: one module each, which turns settings into the engine's own command line."""

from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources import files
from typing import Protocol, cast

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.serve.settings import ServeSettings


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The engine's command line and the variables that it needs besides the caller's."""

    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


class Backend(Protocol):
    """What a module in this folder provides."""

    def launch(self, settings: ServeSettings, python: str) -> Launch:
        """Return the engine's command line, run by the backend's interpreter. Raises UsageError."""


def backend_names() -> list[str]:
    """Return the names of all backends: the modules beside this file."""
    here = files(__name__)
    return sorted(
        entry.name.removesuffix(".py")
        for entry in here.iterdir()
        if entry.name.endswith(".py") and not entry.name.startswith("_")
    )


def find_backend(name: str | None) -> Backend:
    """Return the backend of this image. Raises UsageError."""
    if name not in backend_names():
        given = f'the backend "{name}" is unknown' if name else "this image has no serving backend"
        known = ", ".join(backend_names())
        raise UsageError(given, where="EVALDOCK_BACKEND", next_step=f"use the image of a backend: {known}")
    return cast(Backend, import_module(f"{__name__}.{name}"))
