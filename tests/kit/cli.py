"""Runs `evaldock` as a user does."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.kit.schemas import conforms


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def evaldock(
    *argv: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 900,
    under: Sequence[str] = (),
) -> Ended:
    """Run one command in cwd; `under` is a command that runs the command after it."""
    done = subprocess.run(
        [*under, sys.executable, "-c", "from evaldock.cli.main import main; main()", *argv],
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


def run_document(
    tree: Mapping[str, Any], cwd: Path, *argv: str, env: Mapping[str, str] | None = None
) -> Ended:
    """Write the document and run it."""
    (cwd / "eval.yaml").write_text(yaml.safe_dump(dict(tree)), encoding="utf-8")
    return evaldock("run", "eval.yaml", *argv, cwd=cwd, env=env)


def only_run(cwd: Path) -> Path:
    """Return the folder of the one run below cwd/results."""
    (folder,) = (cwd / "results").iterdir()
    return folder


def task_results(cwd: Path, task: str) -> dict[str, Any]:
    """Return results.yml of a task of the one run; every file of that run conforms to its schema."""
    run = only_run(cwd)
    for path in (run / "run.yaml", run / "run.lock.yaml", run / task / "results.yml"):
        conforms(path)
    tree: dict[str, Any] = yaml.safe_load((only_run(cwd) / task / "results.yml").read_text(encoding="utf-8"))
    return tree


def scores(results: Mapping[str, Any], task: str, part: str = "tasks") -> dict[str, dict[str, Any]]:
    """Return metric → {value, stderr, n, …} of a task."""
    metrics = results["results"][part][task]["metrics"]
    return {name: metric["scores"][name] for name, metric in metrics.items()}
