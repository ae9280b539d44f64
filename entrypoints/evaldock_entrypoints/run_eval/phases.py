"""Runs the phases of a harness, one process each."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import (
    ExecutionError,
    ExitCode,
    HarnessError,
    InterruptedRunError,
    UsageError,
)
from evaldock_entrypoints.contract.files import make_way, write_json
from evaldock_entrypoints.contract.framework import Phase
from evaldock_entrypoints.data.view import lay_out
from evaldock_entrypoints.run_eval.adapter import PATIENCE_S
from evaldock_entrypoints.run_eval.job import AUXILIARY_PARAMS, Job
from evaldock_entrypoints.run_eval.process import Child, Finished
from evaldock_entrypoints.run_eval.template import render

_PROGRESS_PERIOD_S = 0.5
_LAST_WORD_LENGTH = 300
_MOST_DIGITS = 15  # of a count that a harness prints
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
_PASSED_ON = (
    *("PATH", "LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy"),
)
_NO_KEY = "the-adapter-has-it"  # some clients will not start without one
_HARNESS = "/opt/harness/"  # the harness's environment, wherever it stands


def template_values(job: Job) -> dict[str, Any]:
    """Return what framework.yml's placeholders stand for, secrets excepted."""
    values = {
        "params": job.params | ({"request_timeout": PATIENCE_S} if job.reached else {}),
        "extras": job.extras,
        "endpoint": dict(job.reached.get(None, job.endpoint).__dict__),
        "auxiliary": {role: _auxiliary(job, role) for role in job.framework.roles},
        "task": {"name": job.task.name, "native": job.task.native_name},
        "repeat": job.repeat,
        "paths": {
            "output": str(job.output_dir),
            "native": str(job.native_dir),
            "work": str(job.work_dir),
            "data": str(job.data_view),
            "harness": str(job.harness_dir),
            "logs": str(job.logs_dir),
        },
    }
    if job.framework.vendor is None:
        return values
    from evaldock_entrypoints.run_eval.vendor.values import vendor_values  # brings a template engine along

    return {**values, "vendor": vendor_values(job, job.framework.vendor, values)}


def _auxiliary(job: Job, role: str) -> dict[str, Any]:
    """Return what a template may say of a further model; null for one that the document does not name."""
    names = [*(field.name for field in fields(Endpoint)), *AUXILIARY_PARAMS]
    found = job.auxiliary.get(role)
    if found is None:
        return dict.fromkeys(names)
    return dict.fromkeys(names) | job.reached.get(role, found.endpoint).__dict__ | dict(found.params)


def phase_argv(job: Job, phase: Phase) -> list[str]:
    """Return the exact command of a phase."""
    return [_located(str(part)) for part in render(phase.argv, template_values(job))]


def _located(part: str) -> str:
    """Return a program's path, outside an image that of the folder which stands in for /opt/harness."""
    folder = os.environ.get("EVALDOCK_HARNESS_PREFIX")
    return f"{folder}/{part.removeprefix(_HARNESS)}" if folder and part.startswith(_HARNESS) else part


def _lay_out_data(job: Job) -> None:
    if job.mounted_data_dir is not None:
        datasets = [source.dataset for source in job.task.data]
        lay_out(job.data_view, job.data_dir, job.mounted_data_dir, datasets)


@dataclass(kw_only=True)
class PhaseRunner:
    """Runs phases until one fails; raises HarnessError, ExecutionError (memory) or InterruptedRunError."""

    job: Job
    secrets: Sequence[str]  # values that no log may show
    deadline: float  # time.monotonic() at which everything must be over
    echo: Callable[[str], None]
    watch: Callable[[], None] = lambda: None  # raises where the phase must end
    interrupted: threading.Event = field(default_factory=threading.Event)

    def run(self, phase: Phase) -> None:
        for folder in (self.job.work_dir, self.job.logs_dir):
            folder.mkdir(parents=True, exist_ok=True)
        _lay_out_data(self.job)
        for name, content in render(phase.files, template_values(self.job)).items():
            write_json(self.job.work_dir / name, content)
        kills_before = oom_kills()
        progress = _Progress(self.job, phase, self.echo)
        child = Child(
            phase_argv(self.job, phase),
            env=self._environment(phase),
            cwd=self.job.data_view if self.job.data_view.is_dir() else self.job.work_dir,
            log=self.job.logs_dir / f"{phase.name}.log",
            redact=Redaction(self.secrets),
            on_line=progress.read,
        )
        try:
            with child, self._listening():
                finished = child.wait(self.deadline - time.monotonic(), self.interrupted, self.watch)
        except FileNotFoundError as error:
            raise HarnessError(
                f"the harness's program is missing: {error.filename}",
                where=f"phase {phase.name}",
                next_step="this image lacks it; build it again: evaldock build",
            ) from error
        progress.write()
        self._judge(phase, finished, oom_killed=oom_kills() > kills_before)

    def _environment(self, phase: Phase) -> dict[str, str]:
        home = self.job.home_dir
        home.mkdir(parents=True, exist_ok=True)
        base = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        base |= _OFFLINE | {"HOME": str(home), "TMPDIR": os.environ.get("TMPDIR", "/tmp")}
        # A hub's cache that a user mounts is read; what `datasets` makes of it goes where it may be written.
        base |= {"HF_HOME": os.environ.get("HF_HOME", str(home / "hf"))}
        base |= {"HF_DATASETS_CACHE": str(home / "datasets"), "XDG_CACHE_HOME": str(home / "cache")}
        base |= {"PYTHONUNBUFFERED": "1"}
        values = template_values(self.job) | {"secret": {"api_key": _NO_KEY}}
        return base | {name: str(value) for name, value in render(phase.env, values).items()}

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """While the child runs, SIGTERM and SIGINT end it in order instead of ending us."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, lambda *_: self.interrupted.set()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _judge(self, phase: Phase, finished: Finished, *, oom_killed: bool) -> None:
        where = f"phase {phase.name}, after {finished.duration_s:.0f} s"
        match finished.stopped_by:
            case "signal":
                raise InterruptedRunError("interrupted", where=where, next_step=_RESUME)
            case "deadline":
                raise InterruptedRunError("the time limit is reached", where=where, next_step=_RESUME)
        if finished.returncode == 0:
            return
        if oom_killed:
            raise ExecutionError(
                f"out of memory (limit {memory_limit()})",
                where=where,
                next_step="give the container more memory, or lower parallelism",
            )
        last_word = _last_word(finished.last_lines)
        log = f"{self.job.logs_dir / phase.name}.log; its last lines:\n" + "\n".join(
            f"    {line}" for line in finished.last_lines
        )
        if finished.returncode == ExitCode.USAGE:
            step = f"change the document; the harness says more in {log}"
            raise UsageError(f"the harness refuses what it is asked{last_word}", where=where, next_step=step)
        raise HarnessError(
            f"the harness {_ended(finished.returncode)}{last_word}", where=where, next_step=f"read {log}"
        )


_RESUME = "the same command on the same folder resumes"


class _Progress:
    """Reads progress out of output lines; echoes all other lines."""

    def __init__(self, job: Job, phase: Phase, echo: Callable[[str], None]) -> None:
        self._file, self._name, self._echo = job.progress_file, _named(job, phase), echo
        self._pattern = re.compile(phase.progress) if phase.progress else None
        self._done = self._total = 0
        self._written_at = 0.0

    def read(self, line: str) -> None:
        match = self._pattern.search(line) if self._pattern else None
        if match is None:
            if line.strip():
                self._echo(line)
            return
        self._done, self._total = (int(match[name][:_MOST_DIGITS]) for name in ("done", "total"))
        if time.monotonic() - self._written_at >= _PROGRESS_PERIOD_S:
            self.write()

    def write(self) -> None:
        if self._total:
            self._written_at = time.monotonic()
            make_way(self._file)
            write_json(self._file, {"phase": self._name, "done": self._done, "total": self._total})


def _named(job: Job, phase: Phase) -> str:
    return phase.name if job.starts == 1 else f"{phase.name}, {job.repeat + 1} of {job.starts}"


def _last_word(lines: Sequence[str]) -> str:
    """Return the last line that a harness said, as the end of a sentence: mostly it is why it ended."""
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {said[:_LAST_WORD_LENGTH]}" if said else ""


def _ended(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"exited with status {returncode}"


def oom_kills() -> int:
    """Return how many processes of this container the kernel killed for memory (cgroup v1 or v2)."""
    for name in ("memory.events", "memory/memory.oom_control"):
        try:
            lines = (Path("/sys/fs/cgroup") / name).read_text().splitlines()
            return int(dict(line.split() for line in lines).get("oom_kill", 0))
        except (OSError, ValueError):
            continue
    return 0


def memory_limit() -> str:
    """Return the container's memory limit for a message, such as "512 MiB"."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return f"{int((Path('/sys/fs/cgroup') / name).read_text()) // 1024**2} MiB"
        except (OSError, ValueError):
            continue
    return "unknown"
