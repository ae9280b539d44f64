"""The variables of a unit without a container: those of its image, and nothing of the caller's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evaldock.engines.host_paths import Places
from evaldock.gpus import number_of
from evaldock.plan import Unit
from evaldock.supply.environments import ORIGIN, Environment
from evaldock_entrypoints.contract.errors import ExecutionError, UsageError
from evaldock_entrypoints.contract.fields import Gpus

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VISIBLE = "CUDA_VISIBLE_DEVICES"


def image_paths(environment: Environment, unit: Unit, private_tmp: Path) -> dict[str, str]:
    """Return path in the container → path here; a mount hides what the image has in its place."""
    folders = {target: str(folder) for target, folder in environment.folders.items()}
    mounts = {mount.target: mount.source for mount in unit.mounts}
    return folders | {"/tmp": str(private_tmp)} | mounts


def unit_environment(
    environment: Environment,
    unit: Unit,
    places: Places,
    *,
    secrets: Mapping[str, str],
    caller: Mapping[str, str],
) -> dict[str, str]:
    """Return all variables of the unit. caller: the environment that decides which GPUs there are."""
    settings = {name: places.text(value) for name, value in unit.settings.items()}
    if settings.pop("EVALDOCK_IMAGE_ORIGIN", None):
        settings.pop("EVALDOCK_IMAGE_DIGEST", None)  # results say null: there is no image
        settings |= {"EVALDOCK_IMAGE_ID": environment.input_hash, "EVALDOCK_IMAGE_ORIGIN": ORIGIN}
    return {
        **_of_the_base(environment, places),
        **_of_the_image(environment, places),
        **settings,
        **visible_gpus(unit.gpus, caller),
        **secrets,
    }


def visible_gpus(gpus: Gpus, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that shows exactly these GPUs to CUDA; raises UsageError where there are fewer."""
    allowed = caller.get(VISIBLE)
    match gpus:
        case "all":
            return {} if allowed is None else {VISIBLE: allowed}
        case "none":
            return {VISIBLE: ""}
        case int() if allowed is None:
            return {VISIBLE: ",".join(str(index) for index in range(gpus))}
        case int():
            return {VISIBLE: ",".join(_first(gpus, str(allowed)))}
        case list():
            return {VISIBLE: ",".join(str(index) for index in gpus)}
        case _:
            raise AssertionError(gpus)


def seen_gpus(unit: Unit, visible: str | None, present: Sequence[str]) -> tuple[str, ...]:
    """Return those of this machine's GPUs that a unit sees; raises ExecutionError where it wants more.

    visible: its CUDA_VISIBLE_DEVICES. present: the lines of `nvidia-smi -L`.
    """
    ids = [str(index) for index in range(len(present))] if visible is None else visible.split(",")
    seen = tuple(gpu for gpu in present if any(_is_named(gpu, one) for one in ids))
    wanted = number_of(unit.gpus)
    if len(seen) < (1 if wanted is None else wanted):
        raise ExecutionError(
            f"asked for {unit.gpus} GPUs, and {len(seen) or 'none'} of them are on this machine",
            where=f"unit {unit.name}, {VISIBLE}={visible}",
            next_step="ask for what `nvidia-smi -L` lists, such as --gpus none",
        )
    return seen


def _is_named(gpu: str, wanted: str) -> bool:
    return gpu.startswith(f"GPU {wanted}:") if wanted.isdecimal() else bool(wanted) and wanted in gpu


def _first(count: int, allowed: str) -> list[str]:
    ids = [part for part in allowed.split(",") if part]
    if len(ids) < count:
        raise UsageError(
            f"{count} GPUs are asked for, and this process may use {len(ids)}",
            where=f"{VISIBLE}={allowed}",
            next_step="ask for fewer (--gpus), or start evaldock with more",
        )
    return ids[:count]


def _of_the_base(environment: Environment, places: Places) -> dict[str, str]:
    """Return what images/base/Dockerfile sets, with a private folder in place of /tmp."""
    bins = [f"{environment.folders[target]}/bin" for target in _BINS if target in environment.folders]
    tmp = places.paths["/tmp"]
    return {
        "PATH": ":".join([*bins, _SYSTEM_PATH]),
        "HOME": tmp,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "LOGNAME": "evaldock",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": "UTC",
        "USER": "evaldock",
    }


_BINS = ("/opt/harness", "/opt/backend")


def _of_the_image(environment: Environment, places: Places) -> dict[str, str]:
    """Return what the Dockerfile of a harness or of a backend sets, and where its programs stand."""
    if environment.backend:
        python = places.text("/opt/backend/bin/python")
        return {"EVALDOCK_BACKEND": environment.backend, "EVALDOCK_BACKEND_PYTHON": python}
    return {
        "EVALDOCK_DATA_DIR": places.text("/opt/data"),
        "EVALDOCK_HARNESS_DIR": places.text("/opt/harness-files"),
        "EVALDOCK_HARNESS_PREFIX": places.text("/opt/harness"),
    }
