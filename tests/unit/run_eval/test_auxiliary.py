"""A task that asks a further model: where the harness finds it, what is refused, what is recorded."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = pytest.mark.slow  # starts processes

CODE = "from evaldock_entrypoints.run_eval.cli import main; main()"
HARNESS = """
import json, sys, urllib.request
job = json.load(open(sys.argv[1]))
def ask(model, text):
    body = {"model": model["model_id"], "messages": [{"role": "user", "content": text}], "max_tokens": 8}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(model["url"], json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
answer = ask(job["model"], "What is right?")
verdict = ask(job["judge"], f"Is {answer!r} right?")
json.dump({"answer": answer, "verdict": verdict}, open(job["result"], "w"))
"""
RESULTS = """
import json
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample
def parse(job):
    row = json.loads((job.native_dir / "result.json").read_text())
    sample = Sample(id="0", response=row["answer"], scores={"acc": float("yes" in row["verdict"])})
    claim = MetricClaim(task="judged", name="acc", value=None, score="acc")
    return Outcome(samples=[sample], claims=[claim], totals=[1])
"""
MODEL = ("url", "base_url", "model_id", "type", "temperature")


def harness(folder: Path) -> Path:
    folder.mkdir()
    (folder / "ask.py").write_text(HARNESS, encoding="utf-8")
    (folder / "results.py").write_text(RESULTS, encoding="utf-8")
    job = {
        "model": {name: f"{{endpoint.{name}}}" for name in ("url", "model_id")},
        "judge": {name: f"{{auxiliary.judge.{name}}}" for name in MODEL},
        "result": "{paths.native}/result.json",
    }
    about = dict.fromkeys(("description", "source", "license"), "x")
    task = {"description": "d", "endpoint_types": ["chat"], "primary_metric": "acc"}
    tree = {
        "framework": {"name": "judging", "version": "1", **about},
        "phases": [
            {
                "name": "ask",
                "argv": [sys.executable, "{paths.harness}/ask.py", "{paths.work}/job.json"],
                "files": {"job.json": job},
            }
        ],
        "tasks": [{"name": "judged", "auxiliary": ["judge"], **task}, {"name": "plain", **task}],
    }
    (folder / "framework.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return folder


def run(
    folder: Path, document: dict[str, Any], output: Path, *flags: str
) -> "subprocess.CompletedProcess[str]":
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    argv = [sys.executable, "-c", CODE, "--run_config", str(path), "--output_dir", str(output), *flags]
    env = os.environ | {"EVALDOCK_HARNESS_DIR": str(folder), "EVALDOCK_DATA_DIR": str(folder)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)


def line(item: str, match: str, answer: str) -> str:
    row = {"id": item, "match": match, "kind": "generate", "right": answer, "wrong": answer}
    return json.dumps(row) + "\n"


def test_the_judge_is_asked_through_the_adapter_and_counted_apart(tmp_path: Path) -> None:
    (tmp_path / "model.jsonl").write_text(line("q", "What is right?", "this"), encoding="utf-8")
    (tmp_path / "judge.jsonl").write_text(line("j", "Is 'this' right?", "yes"), encoding="utf-8")
    with (
        running_endpoint(answers=[tmp_path / "model.jsonl"], share=1) as model,
        running_endpoint(answers=[tmp_path / "judge.jsonl"], share=1, model="the-judge") as judge,
    ):
        document = {
            "target": {
                "api_endpoint": {"url": f"{model.url}/v1", "model_id": "fake-model", "type": "chat"},
                "auxiliary": {
                    "judge": {"url": f"{judge.url}/v1", "model_id": "the-judge", "temperature": 0.5}
                },
            },
            "evaluation": {"tasks": ["judged"]},
        }
        out = tmp_path / "out"
        ended = run(harness(tmp_path / "harness"), document, out)
        assert ended.returncode == 0, ended.stderr
        assert judge.stats()["items"]["j"]["asked"] == 1
    results = yaml.safe_load((out / "results.yml").read_text(encoding="utf-8"))
    assert results["results"]["tasks"]["judged"]["metrics"]["acc"]["scores"]["acc"]["value"] == 1
    recorded = results["target"]["auxiliary"]["judge"]
    assert (recorded["model_id"], recorded["temperature"]) == ("the-judge", 0.5)
    told = json.loads((out / "native" / "work" / "job.json").read_text(encoding="utf-8"))["judge"]
    assert told["url"].endswith("/t/judging.judged/aux/judge/v1/chat/completions")
    assert (told["temperature"], told["type"]) == (0.5, "chat")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["requests"], metrics["auxiliary"]["judge"]["requests"]) == (1, 1)


@pytest.mark.parametrize(("task", "code"), [("judged", 2), ("plain", 0)])
def test_only_a_task_that_needs_a_judge_is_refused_without_one(tmp_path: Path, task: str, code: int) -> None:
    endpoint = {"url": "http://127.0.0.1:9/v1", "model_id": "m", "type": "chat"}
    document = {"target": {"api_endpoint": endpoint}, "evaluation": {"tasks": [task]}}
    ended = run(harness(tmp_path / "harness"), document, tmp_path / "out", "--dry_run")
    assert ended.returncode == code, ended.stderr
    if code:
        assert "target.auxiliary.judge" in ended.stderr
