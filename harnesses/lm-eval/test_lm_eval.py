"""results.py on recorded native output, and the launcher's decisions that need no lm-eval."""

import importlib
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import EndpointType, load_framework
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.outcome import parse
from evaldock_entrypoints.run_eval.phases import template_values
from evaldock_entrypoints.run_eval.prove import prove
from evaldock_entrypoints.run_eval.template import render

HERE = Path(__file__).parent
PARAMS = {
    "parallelism": 16,
    "temperature": 0.5,
    "top_p": 0.9,
    "max_new_tokens": 256,
    "request_timeout": 300,
    "max_retries": 5,
    "seed": 7,
    "repeats": 1,
}


def job(tmp_path: Path, task: str, endpoint_type: EndpointType, limit: float, **extras: Any) -> Job:
    """Return a job of the task whose native folder is the task's fixture, if there is one."""
    framework = load_framework(HERE)
    found = framework.task(task)
    assert found is not None
    native = tmp_path / "native"
    if (HERE / "fixtures" / task).is_dir():
        shutil.copytree(HERE / "fixtures" / task, native)
    elif (HERE / "fixtures" / f"{task}.tar.xz").is_file():
        with tarfile.open(HERE / "fixtures" / f"{task}.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        (tmp_path / task).rename(native)
    (tmp_path / "logs").mkdir()
    return Job(
        framework=framework,
        task=found,
        params={**PARAMS, "limit_samples": limit},
        extras=dict.fromkeys(framework.extras) | extras,
        endpoint=Endpoint(
            base_url="http://endpoint:8080/v1",
            url="http://endpoint:8080/v1/completions",
            model_id="fake-model",
            type=endpoint_type,
        ),
        output_dir=tmp_path,
        data_dir=tmp_path,
        harness_dir=HERE,
    )


def humaneval(tmp_path: Path) -> Job:
    return job(tmp_path, "humaneval", "completions", 4)


def arc(tmp_path: Path) -> Job:
    return job(tmp_path, "arc_easy", "completions_logprob", 6)


def native_file(at: Job, pattern: str) -> Path:
    (path,) = at.native_dir.glob(f"fake-model/{pattern}")
    return path


def imported(name: str) -> Iterator[ModuleType]:
    """Import a script of this folder, and what it imports from there."""
    sys.path.insert(0, str(HERE))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(HERE))
        for ours in ("run_lm_eval", "task_files", "data_rows"):
            sys.modules.pop(ours, None)


@pytest.fixture
def launcher() -> Iterator[ModuleType]:
    yield from imported("run_lm_eval")


@pytest.fixture
def task_files() -> Iterator[ModuleType]:
    yield from imported("task_files")


def test_multiple_choice_claims_are_the_means_of_the_samples(tmp_path: Path) -> None:
    at = arc(tmp_path)
    outcome = parse(at)
    proof = prove(outcome, 6)
    assert proof.status == "complete"
    printed = json.loads(native_file(at, "results_*").read_text())["results"]["arc_easy"]
    metrics = proof.tasks["arc_easy"]
    assert metrics["acc"].value == pytest.approx(printed["acc,none"], abs=1e-12)
    assert metrics["acc"].stderr == pytest.approx(printed["acc_stderr,none"], abs=1e-12)
    assert 0 < metrics["acc"].value < 1
    assert sum(outcome.totals) == 2376
    assert outcome.num_fewshot == 0
    assert any(note.startswith("overridden: arc_easy: training_split: null") for note in outcome.notes)


def test_multiple_choice_samples_carry_the_chosen_text(tmp_path: Path) -> None:
    samples = parse(arc(tmp_path)).samples
    assert [sample.id for sample in samples] == ["0", "1", "2", "3", "4", "5"]
    assert samples[0].response == "Sunlight is the source of energy for nearly all ecosystems."
    for sample in samples:
        assert sample.correct == (sample.extracted_answer == sample.target)
        assert sample.scores["acc,none"] == float(bool(sample.correct))
        assert sample.prompt_hash is not None
        assert len(sample.prompt_hash) == 64


def test_two_filters_of_an_item_are_one_sample(tmp_path: Path) -> None:
    outcome = parse(job(tmp_path, "gsm8k", "chat", 3))
    assert [sample.id for sample in outcome.samples] == ["0", "1", "2"]
    assert {frozenset(sample.scores) for sample in outcome.samples} == {
        frozenset({"exact_match,strict-match", "exact_match,flexible-extract"})
    }
    assert {claim.name for claim in outcome.claims} == {
        "exact_match,strict-match",
        "exact_match,flexible-extract",
    }
    assert prove(outcome, 3).status == "complete"


def test_group_and_subgroup_claims_hold_for_the_pooled_samples_of_unequal_subjects(tmp_path: Path) -> None:
    outcome = parse(job(tmp_path, "mmlu", "completions_logprob", 0.01))
    proof = prove(outcome, 168)
    assert proof.status == "complete"
    assert set(proof.groups) == {
        "mmlu",
        "mmlu_stem",
        "mmlu_other",
        "mmlu_humanities",
        "mmlu_social_sciences",
    }
    assert len(proof.tasks) == 57
    assert len({metrics["acc"].n for metrics in proof.tasks.values()}) > 1
    assert proof.groups["mmlu"]["acc"].n == 168
    assert sum(metrics["acc"].n for name, metrics in proof.groups.items() if name != "mmlu") == 168
    assert sum(outcome.totals) == 14042
    assert all(sample.id.startswith("mmlu_") and "/" in sample.id for sample in outcome.samples)


def test_a_claim_that_its_samples_do_not_carry_is_refused(tmp_path: Path) -> None:
    at = arc(tmp_path)
    path = native_file(at, "results_*")
    tree = json.loads(path.read_text())
    tree["results"]["arc_easy"]["acc,none"] += 0.01
    path.write_text(json.dumps(tree))
    outcome = parse(at)
    with pytest.raises(HarnessError, match="its own samples give"):
        prove(outcome, 6)


def test_a_missing_sample_makes_the_run_incomplete(tmp_path: Path) -> None:
    at = arc(tmp_path)
    path = native_file(at, "samples_*")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    proof = prove(parse(at), 6)
    assert proof.status == "incomplete"
    assert proof.completeness.scored == 5


def test_no_results_file_says_what_was_found(tmp_path: Path) -> None:
    at = arc(tmp_path)
    native_file(at, "results_*").unlink()
    with pytest.raises(HarnessError, match="without a results file") as caught:
        parse(at)
    assert "fake-model" in str(caught.value.where)


@pytest.mark.parametrize("pattern", ["results_*", "samples_*"])
def test_a_truncated_file_is_refused(tmp_path: Path, pattern: str) -> None:
    at = arc(tmp_path)
    path = native_file(at, pattern)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(HarnessError, match="cut short"):
        parse(at)


def test_a_missing_samples_file_is_refused(tmp_path: Path) -> None:
    at = arc(tmp_path)
    native_file(at, "samples_*").unlink()
    with pytest.raises(HarnessError, match="no samples file"):
        parse(at)


def test_a_doubled_item_is_refused(tmp_path: Path) -> None:
    at = arc(tmp_path)
    path = native_file(at, "samples_*")
    path.write_text(path.read_text() * 2)
    with pytest.raises(HarnessError, match="stands twice"):
        parse(at)


def test_results_of_an_earlier_start_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    at = arc(tmp_path)
    started = at.work_dir / "run.yaml"
    started.write_text("metadata: {evaldock_run: another}\n")
    with pytest.raises(HarnessError, match="no results of this run"):
        parse(at)


def test_results_of_another_limit_or_model_are_refused(tmp_path: Path) -> None:
    at = arc(tmp_path)
    with pytest.raises(HarnessError, match="its limit is 6"):
        parse(replace(at, params={**at.params, "limit_samples": None}))
    with pytest.raises(HarnessError, match="of the model fake-model"):
        parse(replace(at, endpoint=replace(at.endpoint, model_id="other")))


def test_an_unreadable_reply_makes_empty_answers_errors(tmp_path: Path) -> None:
    at = job(tmp_path, "gsm8k", "chat", 3)
    path = native_file(at, "samples_*")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["doc_id"] == 0:
            line["resps"] = [[""]]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    log = at.logs_dir / "evaluate.log"
    assert all(sample.error is None for sample in parse(at).samples)
    log.write_text("WARNING Could not parse generations: 'choices'\n")
    assert [sample.id for sample in parse(at).samples if sample.error is not None] == ["0"]
    run = json.loads(native_file(at, "results_*").read_text())["configs"]["gsm8k"]["metadata"]["evaldock_run"]
    with log.open("a") as file:
        file.write(f"run_lm_eval: run {run}\n")  # the warning was of the start before
    assert all(sample.error is None for sample in parse(at).samples)


def test_cut_prompts_are_noted(tmp_path: Path) -> None:
    at = arc(tmp_path)
    (at.logs_dir / "evaluate.log").write_text("Context length (3000) … Left truncating context.\n" * 2)
    assert "lm-eval cut the beginning off 2 prompts (longer than params.extra.max_length)" in parse(at).notes


def test_a_limit_is_named_as_the_head_of_the_set(tmp_path: Path) -> None:
    at = arc(tmp_path)
    noted = [note for note in parse(at).notes if "not a random sample" in note]
    assert bool(noted) == (at.params["limit_samples"] is not None)
    assert all("2376 items" in note for note in noted)


def test_every_parameter_reaches_lm_evals_configuration(tmp_path: Path) -> None:
    at = job(tmp_path, "gsm8k", "chat", 3, num_fewshot=0)
    (phase,) = at.phases
    config = render(phase.files["run.json"], template_values(at))["config"]
    assert config["gen_kwargs"] == {"temperature": 0.5, "top_p": 0.9, "max_gen_toks": 256}
    assert config["model_args"] == {
        "model": "fake-model",
        "base_url": "http://endpoint:8080/v1/completions",
        "num_concurrent": 16,
        "timeout": 300,
        "seed": 7,
    }
    assert (config["limit"], config["num_fewshot"], config["seed"]) == (3, 0, 7)
    assert config["apply_chat_template"] is True
    assert config["log_samples"] is True


def test_every_task_is_in_the_list_of_lm_evals_files(task_files: ModuleType) -> None:
    assert {task.native_name for task in load_framework(HERE).tasks} <= set(task_files.index())


def test_only_phases_that_run_model_code_confirm_it(tmp_path: Path) -> None:
    at = humaneval(tmp_path)
    asking, scoring = at.phases
    configs = [
        render(phase.files[name], template_values(at))["config"]
        for phase, name in ((asking, "run.json"), (scoring, "score.json"))
    ]
    assert [config.get("predict_only") for config in configs] == [True, None]
    assert (asking.executes_model_code, scoring.executes_model_code) == (False, True)
    (evaluate,) = arc(tmp_path / "arc").phases
    assert "confirm_run_unsafe_code" not in evaluate.files["run.json"]["config"]


def test_tokenizer_follows_the_endpoint_type(launcher: ModuleType) -> None:
    def backend(endpoint_type: str, given: dict[str, str]) -> str | None:
        args = launcher.tokenizer_args(endpoint_type, given, chat_template=False)
        return None if args.get("tokenizer_backend") is None else str(args["tokenizer_backend"])

    assert backend("chat", {"tokenizer": "/t"}) is None
    assert backend("completions", {}) == "none"
    assert backend("completions_logprob", {}) == "remote"
    assert backend("completions_logprob", {"tokenizer": "/t"}) == "huggingface"
    with pytest.raises(launcher.RefusedError, match="needs the model's tokenizer"):
        launcher.tokenizer_args("completions", {}, chat_template=True)


def packaged(task_files: ModuleType, **config: Any) -> Any:
    """Return a task file of lm-eval with these values."""
    base = {"task": "t", "dataset_path": "d", "test_split": "test", "training_split": "train"}
    return task_files.PackagedTask(file=Path("t.yaml"), config=base | config)


def test_only_splits_that_the_data_lacks_are_overridden(task_files: ModuleType) -> None:
    assert task_files.override(packaged(task_files), {"test"}, None, ()) == {"training_split": None}
    assert task_files.override(packaged(task_files, fewshot_split="train"), {"test"}, 0, ()) == {
        "training_split": None,
        "fewshot_split": None,
        "fewshot_config": None,
    }
    assert task_files.override(packaged(task_files), {"test", "train"}, 5, ()) == {}


def test_shots_from_a_missing_split_are_refused(task_files: ModuleType) -> None:
    with pytest.raises(task_files.RefusedError, match="5 few-shot examples"):
        task_files.override(packaged(task_files, num_fewshot=5), {"test"}, None, ())
    inline = packaged(task_files, num_fewshot=8, fewshot_config={"samples": [{}]}, training_split=None)
    assert task_files.override(inline, {"test"}, None, ()) == {}


def test_a_missing_test_split_is_replaced_only_where_that_is_declared(task_files: ModuleType) -> None:
    with pytest.raises(task_files.RefusedError, match="lacks the split that is scored"):
        task_files.override(packaged(task_files), {"validation"}, None, ())
    assert "test_split" in task_files.override(packaged(task_files), {"validation"}, None, {"test_split"})


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so \boxed{1}, hence $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"it is $\boxed 7$ in all", "7"),
        (r"$\boxed{\left\{1,2\right\}}$", r"\left\{1,2\right\}"),
    ],
)
def test_the_answer_of_a_problem_is_what_the_last_box_holds(solution: str, answer: str) -> None:
    for rows in imported("data_rows"):
        assert rows.boxed(solution) == answer


def test_a_repeat_has_a_seed_of_its_own_and_the_same_examples(launcher: ModuleType) -> None:
    def config(repeat: int) -> Any:
        args = {"model": "m", "seed": 7}
        run = {"endpoint_type": "chat", "repeat": repeat, "config": {"model_args": args, "seed": 7}}
        return launcher.complete(run)

    assert [config(repeat)["model_args"]["seed"] for repeat in (0, 2)] == [7, 9]
    assert config(2)["seed"] == 7


def test_what_an_earlier_start_left_is_removed(launcher: ModuleType, tmp_path: Path) -> None:
    for name in ("work/run.yaml", "fake-model/results_1.json", "stray"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    launcher.empty(tmp_path, but="work")
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert (tmp_path / "work" / "run.yaml").is_file()


def test_a_groups_file_names_its_parts_and_those_of_the_groups_within(task_files: ModuleType) -> None:
    inner = {"group": "inner", "task": ["c", {"task": "d", "num_fewshot": 0}]}
    assert list(task_files.children({"group": "g", "task": ["a", {"task": "b"}, inner]})) == [
        *("a", "b", "inner", "c", "d")
    ]
    assert list(task_files.children({"task": "a", "dataset_path": "d"})) == []


def test_scores_of_the_generated_answers_are_the_result(tmp_path: Path) -> None:
    outcome = parse(humaneval(tmp_path))
    proof = prove(outcome, 4)
    assert proof.status == "complete"
    metric = proof.tasks["humaneval"]["pass@1,create_test"]
    assert (metric.value, metric.n) == (0.5, 4)
    assert [sample.correct for sample in outcome.samples].count(True) == 2


@pytest.mark.parametrize("key", ["resps", "filtered_resps"])
def test_scores_of_other_answers_are_refused(tmp_path: Path, key: str) -> None:
    at = humaneval(tmp_path)
    (path,) = (at.native_dir / "score").glob("*/samples_*")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1][key], lines[1]["pass@1"] = lines[0][key], 1.0
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(HarnessError, match="not those that were generated"):
        parse(at)


def test_scores_of_fewer_answers_are_refused(tmp_path: Path) -> None:
    at = humaneval(tmp_path)
    (path,) = (at.native_dir / "score").glob("*/samples_*")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(HarnessError, match="not those that were generated"):
        parse(at)


def test_answers_without_scores_are_no_result(tmp_path: Path) -> None:
    at = humaneval(tmp_path)
    shutil.rmtree(at.native_dir / "score")
    with pytest.raises(HarnessError, match=r"without a results file") as caught:
        parse(at)
    assert "score.log" in str(caught.value.next_step)
