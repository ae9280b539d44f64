"""The image by itself, as `docker run` starts it: any user, its own adapter, SIGTERM, and then again."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from evaldock.analysis.results_file import read_task
from evaldock.compiler.tasks import RESULTS_TARGET
from evaldock.conformance.asking import Answer, Asker
from evaldock.conformance.commands import document_mount, run_eval_argv
from evaldock.conformance.trial import KEY_NAME, Trial
from evaldock.conformance.verdict import Verdict, judged, not_applicable
from evaldock.plan import Mount
from evaldock_entrypoints.contract.errors import ExitCode

_NOBODYS_UID = 64321  # no image has a name for it
_STOP_WITHIN_S = 15
_GRACE_S = 30  # so that one that is late is seen to be late
_HANG_WITHIN_S = 180.0
_SETTLE_S = 1.0
_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class _Alone:
    """A container of the image, its folder, and as whom it runs."""

    asker: Asker
    trial: Trial
    results: Path
    user: str

    @property
    def argv(self) -> tuple[str, ...]:
        return run_eval_argv(self.trial.subject)

    @property
    def mounts(self) -> tuple[Mount, ...]:
        results = Mount(source=str(self.results), target=RESULTS_TARGET, read_only=False)
        return (document_mount(self.asker.folder, self.trial.document()), results)

    @property
    def secrets(self) -> dict[str, str]:
        return {KEY_NAME: self.trial.canary}

    def run(self) -> Answer:
        return self.asker.ask(
            *self.argv,
            mounts=self.mounts,
            log="alone.log",
            user=self.user,
            network="host",
            secrets=self.secrets,
        )


def check_alone(asker: Asker, trial: Trial, window: str | None) -> list[Verdict]:
    """Return the verdicts on a user whom the image does not know, and on SIGTERM.

    window: a part of the question that stays open while the signal comes; None: it asks none.
    """
    alone = _prepared(asker, trial)
    stopped = None if window is None else _stopped(alone, window)
    trial.endpoint.reset([])
    answer = alone.run()
    record = read_task(alone.results)
    is_whole = answer.code == 0 and record.status == "complete"
    any_uid = judged("any_uid", is_whole, f"as {alone.user}, by itself: {answer.said}, {record.status}")
    if stopped is None:
        why = "the question that was to keep the harness busy was not asked"
        return [any_uid, not_applicable("sigterm", why)]
    code, took_s = stopped
    seen = f"exit {code} after {took_s:.1f} s; the same command again: {answer.said}, {record.status}"
    in_order = code == ExitCode.INTERRUPTED and took_s <= _STOP_WITHIN_S and is_whole
    return [any_uid, judged("sigterm", in_order, seen)]


def _prepared(asker: Asker, trial: Trial) -> _Alone:
    results = trial.folder / "alone"
    results.mkdir()
    user = f"{os.getuid()}:{os.getgid()}"
    if os.geteuid() == 0:
        user = f"{_NOBODYS_UID}:{_NOBODYS_UID}"
        os.chown(results, _NOBODYS_UID, _NOBODYS_UID)
    return _Alone(asker=asker, trial=trial, results=results, user=user)


def _stopped(alone: _Alone, window: str) -> tuple[int, float] | None:
    """Send SIGTERM while a question is open; return exit code and seconds, None where it was not asked."""
    alone.trial.endpoint.reset([{"match": {"body_contains": window}, "action": "hang"}])
    started = alone.asker.started(
        *alone.argv, mounts=alone.mounts, user=alone.user, network="host", secrets=alone.secrets
    )
    with started as running:
        deadline_s = time.monotonic() + _HANG_WITHIN_S
        while not alone.trial.endpoint.stats()["faults"].get("hang"):
            if running.ended.wait(_POLL_S) or time.monotonic() > deadline_s:
                running.save_log(alone.asker.folder / "interrupted.log")
                return None
        time.sleep(_SETTLE_S)
        began = time.monotonic()
        running.stop(grace_s=_GRACE_S)
        running.ended.wait(_GRACE_S)
        took_s = time.monotonic() - began
        running.save_log(alone.asker.folder / "interrupted.log")
        return running.exit().code, took_s
