"""buildah's argument lists: reproducible builds into our own storage, pushes into an OCI layout."""

import json
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock.supply.mounts import unmount_below
from evaldock.supply.paths import cache_home
from evaldock.supply.steps import STEP_TIMEOUT_S, Steps

SOURCE_DATE_EPOCH = 1767225600  # 2026-01-01: the one time stamp of every file and image
_LIST_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Storage:
    """One buildah storage; two of them know nothing of each other."""

    folder: Path

    def argv(self) -> list[str]:
        return ["buildah", f"--root={self.folder}/root", f"--runroot={self.folder}/run"]


def default_storage() -> Storage:
    """Return the storage in the caller's cache folder."""
    return Storage(folder=cache_home() / "buildah")


def local_name(reference: str) -> str:
    """Return the full name of a locally built image; without a host buildah would ask registries for it."""
    return f"localhost/{reference}"


def has_image(storage: Storage, name: str) -> bool:
    """Tell whether the storage holds this image."""
    argv = [*storage.argv(), "inspect", "--type=image", "--format={{.FromImageID}}", name]
    return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0


def build(
    storage: Storage,
    steps: Steps,
    *,
    context: Path,
    name: str,
    build_args: Mapping[str, str],
    labels: Mapping[str, str],
    mounts: Sequence[str] = (),
) -> None:
    """Build the context's Dockerfile into the storage, every layer cached, every time stamp fixed."""
    argv = [*storage.argv(), "build", "--layers", "--isolation=chroot", f"--timestamp={SOURCE_DATE_EPOCH}"]
    # OCI, not docker: its config has no random container id and host name. The push converts to schema 2.
    argv += ["--format=oci", "--identity-label=false", f"--tag={name}", f"--file={context}/Dockerfile"]
    argv += [f"--build-arg={key}={value}" for key, value in build_args.items()]
    argv += [f"--label={key}={value}" for key, value in sorted(labels.items())]
    steps.run([*argv, *mounts, str(context)], env=_environment())


def push(storage: Storage, steps: Steps, *, name: str, layout: Path) -> None:
    """Push as Docker schema 2 with gzip layers, which every engine reads (dockerd 20.10 and enroot too)."""
    steps.run([*storage.argv(), "push", "--format=v2s2", name, f"oci:{layout}"], env=_environment())


def pull(storage: Storage, steps: Steps, *, layout: Path, image_id: str, name: str) -> None:
    """Bring the one image of a layout into the storage under its name."""
    steps.run([*storage.argv(), "pull", f"oci:{layout}"], env=_environment())
    steps.run([*storage.argv(), "tag", image_id.removeprefix("sha256:"), name], env=_environment())


def fetch(storage: Storage, steps: Steps, reference: str) -> None:
    """Bring a registry's image into the storage; TLS and logins are the caller's own settings."""
    steps.run([*storage.argv(), "pull", reference], env=_environment())


def remove_all_but(storage: Storage, names: Collection[str]) -> int:
    """Remove all other images and every build step that none of these is made of; returns how many."""
    before = _images(storage)
    stale = [name for image in before for name in image.get("names") or () if name not in names]
    if stale:
        _remove(storage, ["--force", *stale])
    _remove(storage, ["--prune", "--force"])
    return len(before) - len(_images(storage))


def _images(storage: Storage) -> list[dict[str, Any]]:
    """Return all images and build steps as buildah describes them."""
    argv = [*storage.argv(), "images", "--all", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_LIST_TIMEOUT_S, check=True)
    images: list[dict[str, Any]] = json.loads(done.stdout)
    return images


def _remove(storage: Storage, argv: Sequence[str]) -> None:
    subprocess.run([*storage.argv(), "rmi", *argv], capture_output=True, timeout=STEP_TIMEOUT_S, check=True)


def release(storage: Storage) -> None:
    """Unmount what builds left mounted, so that the storage can be deleted like any folder.

    buildah 1.28 keeps the images of earlier stages and its own overlay folder mounted. The run folder, which
    counts mounts, goes with them: to buildah that looks like a reboot.
    """
    unmount_below(storage.folder)
    shutil.rmtree(storage.folder / "run", ignore_errors=True)


def _environment() -> dict[str, str]:
    """The caller's environment less what would change a build."""
    dropped = {"BUILDAH_FORMAT", "BUILDAH_LAYERS", "BUILDAH_ISOLATION", "SOURCE_DATE_EPOCH", "STORAGE_DRIVER"}
    return {key: value for key, value in os.environ.items() if key not in dropped}
