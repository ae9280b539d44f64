"""Running build commands: one line per step with its duration, everything they print into a log file."""

import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaldock_entrypoints.contract.errors import ExecutionError

Report = Callable[[str], None]

STEP_TIMEOUT_S = 3600.0
_TAIL_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Where a build tells its progress and keeps its log."""

    log_path: Path
    report: Report

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Report one line with the duration when the block ends."""
        started_s = time.monotonic()
        try:
            yield
        except BaseException:
            self.report(f"{title}: failed after {time.monotonic() - started_s:.1f} s")
            raise
        self.report(f"{title}: {time.monotonic() - started_s:.1f} s")

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        cwd: Path | None = None,
        timeout_s: float = STEP_TIMEOUT_S,
    ) -> None:
        """Run a command, its output in the log; raises ExecutionError with the last lines when it fails."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {argv[0]} {' '.join(argv[1:3])} …\n")
            log.flush()
            try:
                done = subprocess.run(
                    argv,
                    env=env,
                    cwd=cwd,
                    input=stdin,
                    stdout=log,
                    stderr=log,
                    text=True,
                    timeout=timeout_s,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise ExecutionError(
                    f"{argv[0]} did not run to its end: {error.__class__.__name__}",
                    where=str(self.log_path),
                    next_step=f"see that {argv[0]} is installed (`evaldock doctor`) and try again",
                ) from error
        if done.returncode != 0:
            raise ExecutionError(
                f"{argv[0]} ended with status {done.returncode}; its last lines:\n{self.tail()}",
                where=str(self.log_path),
                next_step="read the log named above; the same command continues where this one stopped",
            )

    def tail(self) -> str:
        """Return the last lines of the log, indented."""
        with self.log_path.open(encoding="utf-8", errors="replace") as log:
            return "".join(f"    {line.rstrip()}\n" for line in deque(log, _TAIL_LINES)).rstrip("\n")
