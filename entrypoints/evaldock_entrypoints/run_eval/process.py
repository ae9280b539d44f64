"""One child process in its own group, with a deadline, redacted output and a progress reading."""

import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.run_eval.process_tree import adopt_orphans, children, end_descendants

TERM_GRACE_S = 10.0
_LAST_LINES, _LAST_LENGTH = 20, 2000
_MOST_LINE_BYTES = 1024**2
_WATCH_PERIOD_S = 0.5
_SEPARATORS = re.compile(rb"[\r\n]")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How the process ended. returncode is negative for a signal, as in subprocess."""

    returncode: int
    stopped_by: str | None  # "deadline" or "signal" when we ended it
    last_lines: tuple[str, ...]
    duration_s: float


class Child:
    """A running process; a context manager that leaves none of its descendants alive."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: dict[str, str],
        cwd: Path,
        log: Path,
        redact: Redaction,
        on_line: Callable[[str], None],
    ) -> None:
        self._argv, self._env, self._cwd, self._log = list(argv), env, cwd, log
        self._redact, self._on_line = redact, on_line
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._watch_at = 0.0  # of time.monotonic()

    def __enter__(self) -> "Child":
        self._started = time.monotonic()
        adopt_orphans()
        self._others = children()
        self._process = subprocess.Popen(
            self._argv,
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._signal_group(signal.SIGKILL)  # grandchildren that outlived the process hold the pipe open
        self._process.wait()
        end_descendants(self._others)
        self._reader.join(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def wait(
        self, deadline_s: float, interrupted: threading.Event, watch: Callable[[], None] = lambda: None
    ) -> Finished:
        """Wait for the end, the deadline (monotonic seconds from the start) or the event; then TERM, KILL.

        watch: called now and then; what it raises ends the process too, and is raised again.
        """
        stopped_by = None
        while self._process.poll() is None:
            self._watch(watch)
            if interrupted.wait(0.05):
                stopped_by = "signal"
            elif time.monotonic() - self._started > deadline_s:
                stopped_by = "deadline"
            if stopped_by:
                self._stop()
                break
        returncode = self._process.wait()
        end_descendants(self._others)  # what the harness left in the background must not outlive it
        self._reader.join(timeout=5)
        duration_s = time.monotonic() - self._started
        return Finished(
            returncode=returncode,
            stopped_by=stopped_by,
            last_lines=tuple(self._last),
            duration_s=duration_s,
        )

    def _watch(self, watch: Callable[[], None]) -> None:
        if time.monotonic() < self._watch_at:
            return
        self._watch_at = time.monotonic() + _WATCH_PERIOD_S
        try:
            watch()
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        self._signal_group(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(TERM_GRACE_S)
            return
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._log.open("a", encoding="utf-8") as log:
            for text, is_line in _pieces(self._process.stdout):
                line = self._redact(text)
                with suppress(OSError):  # whatever cannot be noted, the harness must not wait for us to read
                    self._on_line(line)
                    if is_line and line.strip():
                        self._last.append(line[:_LAST_LENGTH])
                        log.write(f"{line}\n")
                        log.flush()


def _pieces(stream: IO[bytes]) -> Iterator[tuple[str, bool]]:
    """Yield output split at CR and LF; a piece that CR ended (a progress bar) is no line.

    What goes on for more than a MiB without an end is cut there.
    """
    rest = b""
    while chunk := os.read(stream.fileno(), 65536):
        rest += chunk
        while match := _SEPARATORS.search(rest):
            yield rest[: match.start()].decode(errors="replace"), match[0] == b"\n"
            rest = rest[match.end() :]
        if len(rest) >= _MOST_LINE_BYTES:
            yield rest.decode(errors="replace"), True
            rest = b""
    if rest:
        yield rest.decode(errors="replace"), True
