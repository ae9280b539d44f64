from pathlib import Path

import pytest

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.phases import phase_argv

FRAMEWORK = """
framework: {name: toy, version: "1", description: d, source: s, license: l}
phases: [{name: ask, argv: [/opt/harness/bin/python, "{paths.harness}/ask.py", /opt/harness-files/x]}]
tasks: [{name: sums, description: d, endpoint_types: [chat], data: [], primary_metric: acc}]
"""


@pytest.mark.parametrize(
    ("prefix", "program"), [(None, "/opt/harness/bin/python"), ("/a b", "/a b/bin/python")]
)
def test_the_harness_runs_from_where_its_environment_stands(
    prefix: str | None, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVALDOCK_HARNESS_PREFIX", raising=False)
    if prefix:
        monkeypatch.setenv("EVALDOCK_HARNESS_PREFIX", prefix)
    (tmp_path / "framework.yml").write_text(FRAMEWORK, encoding="utf-8")
    framework = load_framework(tmp_path)
    job = Job(
        framework=framework,
        task=framework.tasks[0],
        params={},
        extras={},
        endpoint=endpoint_at("http://h/v1", model_id="m", endpoint_type="chat", api_key_name=None),
        output_dir=tmp_path,
        data_dir=tmp_path,
        harness_dir=Path("/files"),
    )
    assert phase_argv(job, framework.phases[0]) == [program, "/files/ask.py", "/opt/harness-files/x"]
