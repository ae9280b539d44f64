"""What a task's folder remembers between runs: whose it is and which phases are done."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.adapter import Served
from evaldock_entrypoints.contract.built_in_interceptors import CACHING, ENDPOINT, STREAMING
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.files import make_way, write_json
from evaldock_entrypoints.contract.target import Interceptor
from evaldock_entrypoints.run_eval.job import Job

STATE_FILE = "state.json"
_MOST_BYTES = 1024**2
_OURS = (
    "state.json",
    "results.yml",
    "metrics.json",
    "samples.jsonl.zst",
    "progress.json",
    "native",
    "logs",
    "exchanges",
)


@dataclass(frozen=True, kw_only=True)
class State:
    """The remembered state; finished_phases holds the names of phases that need not run again."""

    fingerprint: str
    finished_phases: tuple[str, ...] = ()
    started_at: str
    network: dict[str, Any] | None = None  # what the probe found before the harness last ran

    def write(self, folder: Path) -> None:
        """Replace state.json."""
        make_way(folder / STATE_FILE)
        write_json(folder / STATE_FILE, self.__dict__)


def fingerprint(job: Job, auxiliary: Mapping[str, Served]) -> str:
    """Return a hash of all that decides which answers the folder holds. auxiliary: further models by role."""
    identity = {
        "harness": [job.framework.name, job.framework.framework.version],
        "task": job.task.name,
        "params": {name: value for name, value in job.params.items() if name not in _SPEED_ONLY},
        "extras": job.extras,
        "model": [job.endpoint.model_id, job.endpoint.type],
        "data": [entry.get("sha256") for entry in job.manifest],
        "chain": _deciding(job.chain),
        **({"auxiliary": {role: _model(served) for role, served in auxiliary.items()}} if auxiliary else {}),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _model(served: Served) -> list[Any]:
    return [served.identity, served.type, _deciding(served.interceptors)]


def _deciding(chain: Iterable[Interceptor]) -> list[dict[str, Any]]:
    return [one.model_dump() for one in chain if one.name not in _SPEED_ONLY]


_SPEED_ONLY = frozenset({"parallelism", "request_timeout", "max_retries", ENDPOINT, CACHING, STREAMING})


def open_state(job: Job, auxiliary: Mapping[str, Served], *, fresh: bool, now: str) -> State:
    """Return the folder's state, new if `fresh` or none is there; raises UsageError on another run's."""
    if fresh:
        clear(job.output_dir)
    stored = _read(job.output_dir / STATE_FILE)
    mine = fingerprint(job, auxiliary)
    if stored is None or not isinstance(stored.get("fingerprint"), str):
        return State(fingerprint=mine, started_at=now)
    if stored.get("fingerprint") != mine:
        raise UsageError(
            f"{job.output_dir} holds a run of other parameters, model, data or harness version",
            next_step="choose another --output_dir, or start over in this one with --fresh",
        )
    return State(
        fingerprint=mine,
        finished_phases=_names(stored.get("finished_phases")),
        started_at=str(stored.get("started_at", now)),
        network=found if isinstance(found := stored.get("network"), dict) else None,
    )


def clear(folder: Path) -> None:
    """Remove what a run wrote, and nothing else."""
    for name in _OURS:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return what stands there; None where that is no state: the harness may write in the same folder."""
    if not path.is_file() or path.is_symlink() or path.stat().st_size > _MOST_BYTES:
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return stored if isinstance(stored, dict) else None
