"""The toy harness in a container: the entrypoints image with the fixture folder mounted into it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaldock.compiler import Inputs, Surroundings, compile_plan
from evaldock.executors.adapter import Counts
from evaldock.executors.outcome import TaskEnd, worst
from evaldock.plan import Evaluation, Mount, Plan
from evaldock.registry import HarnessEntry, Registry
from evaldock.session import execute
from evaldock.supply.lock import built_pins
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.contract.layers import Layer, merge
from evaldock_entrypoints.contract.validation import validate

FOLDER = Path(__file__).parents[1] / "fixtures" / "toy-harness"
CODE_FOLDER = FOLDER / "code"  # the files that differ where the answers are code, and the harness executes it


class Silent:
    """Events that nobody looks at."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        pass

    def ended(self, evaluation: Evaluation, end: TaskEnd) -> None:
        pass


def toy_plan(
    output_dir: Path,
    url: str,
    mode: str = "honest",
    *,
    second: str | None = None,
    key_name: str | None = None,
    targets: Sequence[tuple[str, str, int]] | Mapping[str, str] = (),
    answers_are_code: bool = False,
    deployment: Mapping[str, Any] | None = None,
    over: Mapping[str, Any] | None = None,
    **execution: Any,
) -> Plan:
    """Return the plan of a toy task in this mode, against the endpoint at url or a deployment.

    second: the mode of a second task after it. targets: what the mode "reach" tries to reach, by name, or
    where that of "links" leads. over: laid over the rest of the document.
    """
    registry = Registry(
        harnesses={
            "toy": HarnessEntry(
                repository="toy",
                version="1",
                description="",
                lock_sha256="",
                definition=load_framework(CODE_FOLDER if answers_are_code else FOLDER),
            )
        }
    )
    endpoint = {"url": url, "model_id": "fake-model", "type": "completions", "api_key_name": key_name}
    modes = {"sums": mode} if second is None else {"sums": mode, "sums_again": second}
    tasks = [
        {"name": name, "params": {"extra": {"mode": one, "targets": json.dumps(targets)}}}
        for name, one in modes.items()
    ]
    tree = {
        **({} if deployment is None else {"deployment": deployment}),
        "target": {"api_endpoint": endpoint},
        "evaluation": {"tasks": tasks},
        "execution": execution,
        "output": {"dir": str(output_dir)},
    }
    around = Surroundings(
        run_id="toy", run_dir=str(output_dir / "toy"), user=f"{os.getuid()}:{os.getgid()}", working_dir="/"
    )
    built = built_pins()
    pins = {**built, "toy": built["entrypoints"]}
    merged = merge([Layer(tree=tree, name="toy"), Layer(tree=dict(over or {}), name="over")])
    document = validate(Document, merged)
    plan = compile_plan(Inputs(document=document, merged=merged, registry=registry, pins=pins, around=around))
    mounts = [
        Mount(source=str(FOLDER), target="/opt/harness-files"),
        Mount(source=str(FOLDER / "data"), target="/opt/data"),
    ]
    if answers_are_code:
        names = ("framework.yml", "results.py")
        mounts += [
            Mount(source=str(CODE_FOLDER / name), target=f"/opt/harness-files/{name}") for name in names
        ]
    return replace(plan, evaluations=tuple(_mounted(one, mounts) for one in plan.evaluations))


def _mounted(evaluation: Evaluation, mounts: Sequence[Mount]) -> Evaluation:
    units = (replace(unit, mounts=(*unit.mounts, *mounts)) for unit in evaluation.units)
    return replace(evaluation, units=tuple(units))


def start_in_background(output_dir: Path, url: str, mode: str) -> subprocess.Popen[str]:
    """Run the toy in a process of its own, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, str(output_dir), url, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def main() -> int:
    """Run one plan as `evaldock run` does."""
    output_dir, url, mode = sys.argv[1:]
    try:
        return int(worst(execute(toy_plan(Path(output_dir), url, mode), Silent(), os.environ)))
    except EvaldockError as error:
        sys.stdout.write(error.render() + "\n")
        return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())
