"""What a wheel's parse_output returns, and what it proves."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.outcome import expected_samples, read_outcome
from evaldock_entrypoints.run_eval.prove import prove
from evaldock_entrypoints.run_eval.vendor import read_output
from evaldock_entrypoints.run_eval.vendor.results import vendor_claims

JobOf = Callable[..., Job]
STATS = {"count": None, "stderr": 0.1}
RETURNED = {
    "tasks": {"part": {"metrics": {"accuracy": {"scores": {"accuracy": {"value": 0.5, "stats": STATS}}}}}},
    "groups": {
        "all": {
            "groups": {
                "inner": {"metrics": {"score": {"scores": {"micro": {"value": 0.25, "stats": {}}}}}},
            },
            "metrics": {"score": {"scores": {"macro": {"value": 0.75, "stats": {"stderr": None}}}}},
        }
    },
}


def returned(job: Job, tree: object) -> Job:
    job.native_dir.mkdir(parents=True, exist_ok=True)
    (job.native_dir / "vendor_output.json").write_text(json.dumps(tree), encoding="utf-8")
    return job


def test_every_figure_is_a_claim_of_the_wheel_s_own(job_of: JobOf) -> None:
    assert vendor_claims(returned(job_of(), RETURNED)) == [
        MetricClaim(task="part", name="accuracy", value=0.5, stderr=0.1, method="harness"),
        MetricClaim(task="all", name="score_macro", value=0.75, method="harness", group=True),
        MetricClaim(task="inner", name="score_micro", value=0.25, method="harness", group=True),
    ]


@pytest.mark.parametrize("tree", [None, [], {"tasks": {"a": {}}}, {"tasks": {"a": {"metrics": {"b": 1}}}}])
def test_another_form_than_the_vendor_s_is_a_fault_of_the_harness(job_of: JobOf, tree: object) -> None:
    with pytest.raises(HarnessError, match="parse_output"):
        vendor_claims(returned(job_of(), tree))


def test_no_output_is_a_fault_of_the_harness(job_of: JobOf) -> None:
    with pytest.raises(HarnessError, match="parse_output"):
        vendor_claims(job_of())


def test_a_wheel_without_samples_proves_nothing(job_of: JobOf) -> None:
    job = returned(job_of(params={"repeats": 1}), RETURNED)
    outcome = read_outcome(job)
    proof = prove(outcome, expected_samples(job, outcome))
    assert proof.status == "incomplete"
    assert proof.reasons == ("nvidia-small tells no samples, and figures without samples prove nothing",)
    assert proof.tasks["part"]["accuracy"].value == 0.5
    assert proof.groups["all"]["score_macro"].method == "the harness's own"


def test_parse_output_runs_with_the_run_configuration_beside_the_results(tmp_path: Path) -> None:
    package = tmp_path / "core_evals" / "small"
    package.mkdir(parents=True)
    (package / "output.py").write_text(
        "import json, pathlib\n"
        "class Result:\n"
        "    def __init__(self, tree): self.tree = tree\n"
        "    def model_dump_json(self): return json.dumps(self.tree)\n"
        "def parse_output(folder):\n"
        "    return Result(json.loads((pathlib.Path(folder) / 'run_config.yml').read_text()))\n",
        encoding="utf-8",
    )
    job = {
        "module": "core_evals.small.output",
        "folder": str(tmp_path),
        "run_config": {"config": {"type": "plain"}},
        "result": str(tmp_path / "result.json"),
    }
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    argv = [sys.executable, "-P", read_output.__file__, str(tmp_path / "job.json")]
    subprocess.run(argv, check=True, env={"PYTHONPATH": str(tmp_path)})
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == job["run_config"]
