"""Where evaldock keeps what it builds: the data and cache folders of the caller."""

import os
from pathlib import Path

from evaldock_entrypoints.contract.errors import UsageError

_CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Caches of evaldock; safe to delete. See https://bford.info/cachedir/\n"
)


def data_home() -> Path:
    """Return evaldock's data folder ($XDG_DATA_HOME/evaldock)."""
    return _xdg("XDG_DATA_HOME", ".local/share") / "evaldock"


def cache_home() -> Path:
    """Return evaldock's cache folder ($XDG_CACHE_HOME/evaldock), made and tagged as a cache."""
    folder = _xdg("XDG_CACHE_HOME", ".cache") / "evaldock"
    folder.mkdir(parents=True, exist_ok=True)
    tag = folder / "CACHEDIR.TAG"
    if not tag.exists():
        tag.write_text(_CACHEDIR_TAG, encoding="utf-8")
    return folder


def image_store() -> Path:
    """Return the OCI layout folder that holds every image built here."""
    return data_home() / "images"


def checkout_root() -> Path:
    """Return the source checkout this evaldock runs from; raises UsageError when it runs from a wheel."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "images" / "base" / "Dockerfile").is_file():
            return folder
    raise UsageError(
        "images are built from evaldock's source checkout, and this evaldock is installed without it",
        where=str(Path(__file__).parent),
        next_step="clone the repository and run `evaldock build` inside it",
    )


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    # The specification says to ignore relative values.
    return Path(value) if Path(value).is_absolute() else Path.home() / default
