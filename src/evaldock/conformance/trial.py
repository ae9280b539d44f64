"""The runs that an image is tried by: its task, a few items, the fake endpoint."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaldock.conformance.canary import command_lines_with
from evaldock.conformance.subject import Subject
from evaldock.document import Written, written
from evaldock.executors.adapter import Counts
from evaldock.executors.outcome import TaskEnd
from evaldock.executors.quiet import QuietEvents
from evaldock.plan import EngineName, Evaluation
from evaldock.preflight import refuse_unready
from evaldock.registry import Registry
from evaldock.session import execute, make_plan, new_run_id
from evaldock.supply.steps import Report
from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.contract.layers import Layer, merge

MODEL = "conformance-model"
KEY_NAME = "EVALDOCK_CONFORMANCE_KEY"
_RETRIES = 1  # a fault is for good all the sooner


@dataclass(frozen=True, kw_only=True)
class Trial:
    """All that the runs share. canary: the endpoint's key, which nothing may keep."""

    subject: Subject
    catalogue: Registry
    engine: EngineName
    endpoint: RunningEndpoint
    folder: Path
    limit: int
    report: Report
    canary: str = field(repr=False)

    def document(self, url: str | None = None) -> dict[str, Any]:
        """Return the document of a run, url: another endpoint than the fake one."""
        endpoint = {"url": f"{url or self.endpoint.url}/v1", "model_id": MODEL, "api_key_name": KEY_NAME}
        task = self.subject.task
        target: dict[str, Any] = {"api_endpoint": endpoint}
        if task.auxiliary:
            target["auxiliary"] = dict.fromkeys(task.auxiliary, endpoint)
        params = {"limit_samples": self.limit, "max_retries": _RETRIES, **self._shots()}
        return {
            "target": target,
            "evaluation": {"tasks": [{"name": self.subject.name, "params": params}]},
            "execution": {"engine": self.engine},
            "output": {"dir": str(self.folder)},
        }

    def _shots(self) -> dict[str, Any]:
        """Return the parameter without which a task whose examples are not in the image is refused."""
        lacks = not self.subject.task.fewshot_available and "num_fewshot" in self.subject.framework.extras
        return {"extra": {"num_fewshot": 0}} if lacks else {}

    def run(self) -> "Ran":
        """Run the task as `evaldock run` does; raises what that raises but for a task's own failure."""
        tree = self.document()
        if self.subject.pin.name != self.subject.framework.name:
            tree["evaluation"]["tasks"][0]["image"] = self.subject.pin.reference
        given = self._written(tree)
        registry = self.subject.registry(self.catalogue)
        plan = make_plan(given, run_id=new_run_id(), registry=registry, allow_unpinned=True)
        environ = {**os.environ, KEY_NAME: self.canary}
        refuse_unready(plan, given.merged, environ, self.report)
        watch = _Watching(canary=self.canary, report=self.report)
        (end,) = execute(plan, watch, environ, given.merged)
        return Ran(end=end, command_lines=watch.command_lines)

    def _written(self, tree: dict[str, Any]) -> Written:
        registry = self.subject.registry(self.catalogue)
        return written(merge([Layer(tree=tree, name="conformance")]), Path.cwd(), registry)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a run ended, and the command lines that showed the key meanwhile."""

    end: TaskEnd
    command_lines: tuple[str, ...]

    @property
    def results(self) -> Mapping[str, Any]:
        return self.end.results

    @property
    def is_complete(self) -> bool:
        return self.end.exit_code == 0 and self.end.status == "complete"

    @property
    def reports_scores(self) -> bool:
        """Whether results.yml gives any score as one."""
        found = self.results.get("results")
        return isinstance(found, dict) and any(found.values())

    @property
    def said(self) -> str:
        """Why it ended as it did."""
        error, partial = self.results.get("error"), self.results.get("partial")
        reasons = partial.get("reasons") if isinstance(partial, dict) else None
        message = error.get("message") if isinstance(error, dict) else "; ".join(map(str, reasons or ()))
        return f"exit {int(self.end.exit_code)}, {self.end.status}" + (f": {message}" if message else "")


class _Watching(QuietEvents):
    """Events of a run, in which the command lines of this machine are looked at."""

    def __init__(self, *, canary: str, report: Report) -> None:
        super().__init__(report)
        self._canary = canary
        self._found: set[str] = set()

    @property
    def command_lines(self) -> tuple[str, ...]:
        return tuple(sorted(self._found))

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        del evaluation, folder, counts
        self._found.update(command_lines_with(self._canary))
