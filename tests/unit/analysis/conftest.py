"""Run folders for the tests, built with the writers that run_eval itself uses."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import EvaldockError, HarnessError
from evaldock_entrypoints.contract.files import write_yaml
from evaldock_entrypoints.contract.framework import Framework
from evaldock_entrypoints.contract.params import DEFAULT_PARAMS
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.exchanges.facts import Facts
from evaldock_entrypoints.exchanges.traffic import SessionTraffic, Traffic
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.prove import prove
from evaldock_entrypoints.run_eval.write import Record, write_failure, write_results

STARTED, ENDED = "2026-01-01T12:00:00+00:00", "2026-01-01T12:03:20+00:00"
RECORD = Record(
    started_at=STARTED, ended_at=ENDED, network={"wanted": "auto", "sealed": True, "proof": ["no route"]}
)
SHA256 = "4f0b" * 16


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run folder that grows task by task."""

    path: Path

    @classmethod
    def create(cls, output_dir: Path, run_id: str, tasks: Sequence[str] = ()) -> "RunFolder":
        path = output_dir / run_id
        path.mkdir(parents=True)
        document = {
            "deployment": {"type": "llamacpp", "model_path": "/models/SmolLM2-135M-Instruct"},
            "evaluation": {"tasks": list(tasks) or ["arc_easy"], "params": {"limit_samples": 100}},
        }
        write_yaml(path / "run.yaml", document)
        return cls(path=path)

    def job(self, task: str, harness: str = "lm-eval", note: str | None = None, **params: Any) -> Job:
        folder = self.path / f"{harness}.{task}"
        folder.mkdir(exist_ok=True)
        extras = params.pop("extras", {})
        return Job(
            framework=_framework(harness, task, note),
            task=_framework(harness, task, note).tasks[0],
            params=DEFAULT_PARAMS | params,
            extras=extras,
            endpoint=Endpoint(
                base_url="http://server:8080/v1",
                url="http://server:8080/v1/completions",
                model_id="SmolLM2-135M-Instruct",
                type="completions_logprob",
            ),
            output_dir=folder,
            data_dir=folder,
            harness_dir=folder,
            manifest=[
                {
                    "dataset": f"bench/{task}",
                    "config": "default",
                    "split": "test",
                    "path": "x.jsonl",
                    "records": 2376,
                    "sha256": SHA256,
                    "license": "MIT",
                    "source": "lm-eval-data==0.1",
                }
            ],
        )

    def finish(
        self,
        job: Job,
        samples: Sequence[Sample],
        *,
        expected: int | None = None,
        claims: Sequence[MetricClaim] = (),
        num_fewshot: int | None = 0,
        notes: Sequence[str] = (),
    ) -> Path:
        """Write a result as run_eval does; without claims the metric is the mean of the score acc."""
        mine = claims or [MetricClaim(task=job.task.name, name="acc", value=None, score="acc")]
        outcome = Outcome(
            samples=samples, claims=mine, num_fewshot=num_fewshot, notes=notes, harness_version="0.4.13"
        )
        proof = prove(outcome, len(samples) if expected is None else expected)
        write_results(job, outcome, proof, _traffic(samples), RECORD)
        return job.output_dir

    def fail(self, job: Job, error: EvaldockError | None = None) -> Path:
        """Write a failure as run_eval does."""
        error = error or HarnessError(
            "the harness exited with status 1", where="logs/evaluate.log", next_step="its last lines:\n  boom"
        )
        write_failure(job, error, RECORD)
        return job.output_dir

    @staticmethod
    def answers(n: int, right: int, *, prefix: str = "", seed: int = 0, **fields: Any) -> list[Sample]:
        """Return n samples of which `right` are right, shuffled."""
        verdicts = [True] * right + [False] * (n - right)
        random.Random(seed).shuffle(verdicts)
        return [
            RunFolder.sample(f"{prefix}{index}", is_right, **fields)
            for index, is_right in enumerate(verdicts)
        ]

    @staticmethod
    def sample(name: str, is_right: bool, **fields: Any) -> Sample:
        """Return one answered sample with the score acc."""
        return Sample(
            **{
                "id": name,
                "prompt_hash": "9c1d" * 16,
                "response": f"The answer is {'B' if is_right else 'C'}.",
                "extracted_answer": "B" if is_right else "C",
                "target": "B",
                "scores": {"acc": float(is_right)},
                "correct": is_right,
                "finish_reason": "stop",
                "prompt_tokens": 40,
                "completion_tokens": 8,
                "latency_ms": 120.0 + len(name),
                **fields,
            }
        )

    @staticmethod
    def errored(name: str, message: str = "timeout after 300 s") -> Sample:
        """Return a sample that the endpoint never answered."""
        return Sample(id=name, error=SampleError(kind="endpoint", message=message))


def _traffic(samples: Sequence[Sample]) -> SessionTraffic:
    """Return what an adapter would have seen of these samples, one request for each."""
    traffic = Traffic()
    for sample in samples:
        traffic.count(
            Facts(
                started_at=0.0,
                latency_ms=sample.latency_ms or 0.0,
                is_generation=False,
                finish_reasons=(sample.finish_reason,) if sample.finish_reason else (),
                prompt_tokens=sample.prompt_tokens,
                completion_tokens=sample.completion_tokens,
            )
        )
    return SessionTraffic(session="s", corrupt=0, lost=0, roles={None: traffic})


def _framework(harness: str, task: str, note: str | None) -> Framework:
    return Framework.model_validate(
        {
            "framework": {
                "name": harness,
                "version": "0.4.13",
                "description": "",
                "source": "",
                "license": "",
            },
            "phases": [{"name": "evaluate", "argv": ["true"]}],
            "tasks": [
                {
                    "name": task,
                    "description": task,
                    "endpoint_types": ["completions_logprob"],
                    "data": [{"dataset": f"bench/{task}", "split": "test", "license": "MIT"}],
                    "note": note,
                }
            ],
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with a document and no task yet."""
    return RunFolder.create(tmp_path / "results", "20260101-120000-abcd")
