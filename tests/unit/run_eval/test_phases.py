from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.phases import phase_argv, template_values

FRAMEWORK = """
framework: {name: toy, version: "1", description: d, source: s, license: l}
phases: [{name: ask, argv: [/opt/harness/bin/python, "{paths.harness}/ask.py", /opt/harness-files/x]}]
tasks: [{name: sums, description: d, endpoint_types: [chat], data: [], primary_metric: acc}]
"""


def job_of(folder: Path, **params: Any) -> Job:
    (folder / "framework.yml").write_text(FRAMEWORK, encoding="utf-8")
    framework = load_framework(folder)
    return Job(
        framework=framework,
        task=framework.tasks[0],
        params=params,
        extras={},
        endpoint=endpoint_at("http://h/v1", model_id="m", endpoint_type="chat", api_key_name=None),
        output_dir=folder,
        data_dir=folder,
        harness_dir=Path("/files"),
    )


@pytest.mark.parametrize(
    ("prefix", "program"), [(None, "/opt/harness/bin/python"), ("/a b", "/a b/bin/python")]
)
def test_the_harness_runs_from_where_its_environment_stands(
    prefix: str | None, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVALDOCK_HARNESS_PREFIX", raising=False)
    if prefix:
        monkeypatch.setenv("EVALDOCK_HARNESS_PREFIX", prefix)
    job = job_of(tmp_path)
    assert phase_argv(job, job.framework.phases[0]) == [program, "/files/ask.py", "/opt/harness-files/x"]


def test_a_harness_behind_the_adapter_waits_longer_than_its_turn_may_take(tmp_path: Path) -> None:
    alone = job_of(tmp_path, request_timeout=5)
    behind = replace(alone, reached={None: alone.endpoint})
    assert [template_values(job)["params"]["request_timeout"] for job in (alone, behind)] == [5, 86_400]
