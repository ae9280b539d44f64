"""Quick tests of the native folder: a recorded run, made questions and scorers."""

import importlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.contract.statistics import mean
from evaldock_entrypoints.run_eval.job import Job

HERE = Path(__file__).parent


def _load(*names: str) -> list[ModuleType]:
    """Import files of this folder, and forget their names: other harness folders have the same ones."""
    before = set(sys.modules)
    sys.path.insert(0, str(HERE))
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(HERE))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(f"{HERE}/"):
                del sys.modules[name]


items, procedural, scoring, results, data = _load("items", "procedural", "scoring", "results", "data")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    shutil.copytree(HERE / "fixtures" / "native", tmp_path / "native")
    framework = load_framework(HERE)
    task = framework.task("native.arithmetic")
    assert task is not None
    url = "http://localhost:8080/v1"
    return Job(
        framework=framework,
        task=task,
        params={},
        extras={"items": 8},
        endpoint=Endpoint(base_url=url, url=f"{url}/chat/completions", model_id="m", type="chat"),
        output_dir=tmp_path,
        data_dir=tmp_path,
        harness_dir=HERE,
    )


def test_claims_are_the_means_of_the_samples_and_of_their_families(job: Job) -> None:
    outcome = results.parse(job)
    assert outcome.totals == [8]
    scored = [sample for sample in outcome.samples if sample.error is None]
    assert [claim.name for claim in outcome.claims][:2] == ["acc", "acc_add"]
    for claim in outcome.claims:
        values = [s.scores[claim.score] for s in scored if s.id.startswith(claim.within or "")]
        assert claim.value == pytest.approx(mean(values), abs=1e-12)


def test_a_request_that_failed_for_good_is_an_error_and_not_a_wrong_answer(job: Job) -> None:
    (failed,) = [sample for sample in results.parse(job).samples if sample.error is not None]
    assert (failed.id, failed.scores, failed.correct) == ("mixed/1", {}, None)
    assert failed.error.kind == "endpoint"


@pytest.mark.parametrize("name", ["run.json", "answers.jsonl"])
@pytest.mark.parametrize("is_torn", [False, True])
def test_a_run_that_did_not_finish_has_no_result(job: Job, name: str, is_torn: bool) -> None:
    path = job.native_dir / name
    content = path.read_bytes()
    path.unlink()
    if is_torn:
        path.write_bytes(content[:-20])
    with pytest.raises(HarnessError, match="no finished result"):
        results.parse(job)


def test_the_records_of_the_users_file_are_counted_again_and_must_be_those_that_were_asked(
    job: Job, tmp_path: Path
) -> None:
    task = job.framework.task("native.generation")
    assert task is not None
    file = tmp_path / "own.jsonl"
    file.write_text('{"id": 1}\n\n{"id": 2}\n')
    own = replace(job, task=task, extras={"file": str(file)})
    summary = json.loads((job.native_dir / "run.json").read_text())
    sha256 = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout.split()[0]
    summary["files"] = {"file_sha256": sha256}
    (job.native_dir / "run.json").write_text(json.dumps(summary))
    assert results.parse(own).totals == [2]
    file.write_text('{"id": 1}\n')
    with pytest.raises(HarnessError, match="has changed"):
        results.parse(own)


def test_the_images_data_are_ten_and_twelve_questions_of_which_the_right_choice_is_as_often_first(
    tmp_path: Path,
) -> None:
    data.main(tmp_path)
    entries = json.loads((tmp_path / "manifest.json").read_text())["entries"]
    assert {entry["dataset"]: entry["records"] for entry in entries} == {
        "evaldock/smoke": 10,
        "evaldock/smoke_logprob": 12,
    }
    rows = [json.loads(line) for line in (tmp_path / "smoke_logprob/test.jsonl").read_text().splitlines()]
    assert [row["right"] for row in rows].count(0) == 6


@pytest.mark.parametrize(
    ("scorer", "target", "right", "wrong"),
    [
        ("exact", "Paris", [" paris\n", "PARIS"], ["Paris.", "In Paris", ""]),
        ("contains", "New York", ["It is new york!"], ["york", ""]),
        ("regex", r"\b4[0-9]\b", ["it is 42 so"], ["442", "4"]),
        ("numeric", "1234.5", ["3 then 1,234.5.", "$1,234.50", "x=1234.5"], ["1,234", "1234.5 or 7", ""]),
        ("numeric", "-3", ["= -3", "\N{MINUS SIGN}3"], ["5-3", "3"]),
        ("numeric", "3", ["5-3", "1,2,3"], ["-3"]),
        (
            "letter",
            "B",
            ["B", "(B)", "**B**", "B. fire", "B) fire", "The answer is B.", "Answer: b", "A? No. Answer: B"],
            ["A", "Be careful", "I think B", "Both", "The answer is A, not B", ""],
        ),
        ("letter", "A", ["A", "The answer is: (A)"], ["A good question", "The answer isn't clear"]),
        (
            "final",
            "Tuesday",
            ["Answer: tuesday.", "So\n**Answer: Tuesday**", "hm\nTuesday"],
            ["Tuesday or so"],
        ),
    ],
)
def test_scorers_tell_right_from_wrong(scorer: str, target: str, right: list[str], wrong: list[str]) -> None:
    item = items.Item(id="1", scorer=scorer, prompt="?", targets=("no such target", target))
    if scorer in ("numeric", "letter"):
        item = replace(item, targets=(target,))
    assert [text for text in right if not scoring.judge(item, text)[1]] == []
    assert [text for text in wrong if scoring.judge(item, text)[1]] == []


def _solve_order(question: str) -> str:
    """Try every order of the people that the clues name."""
    clues = re.findall(r"(\w+) is (taller|shorter) than (\w+)\.", question)
    pairs = [(a, b) if word == "taller" else (b, a) for a, word, b in clues]
    people: set[str] = {name for pair in pairs for name in pair}
    fitting = [
        order
        for order in itertools.permutations(people)
        if all(order.index(tall) < order.index(short) for tall, short in pairs)
    ]
    assert len(fitting) == 1
    return fitting[0][1 if "second" in question else 2 if "third" in question else 0]


def _solve_weekday(question: str) -> str:
    day, days = re.findall(r"today is (\w+), .* in (\d+) days", question)[0]
    first = next(date(2000, 1, n) for n in range(1, 8) if f"{date(2000, 1, n):%A}" == day)
    return f"{first + timedelta(days=int(days)):%A}"


def _solve_sequence(question: str) -> str:
    terms = [int(text) for text in re.findall(r"\d+", question.split(" each ")[0])]
    rule = re.findall(r"(\d+) times the number before it plus (\d+)", question)
    return str(int(rule[0][0]) * terms[-1] + int(rule[0][1]) if rule else terms[-1] + terms[-2])


def _solve_letters(question: str) -> str:
    letter, word = re.findall(r'"(\w+)"', question)
    return str(len(re.findall(letter, word)))


def _solve_select(question: str) -> str:
    numbers = sorted(int(text) for text in re.findall(r"\d+", question))
    return str(numbers[1 if "second" in question else 2 if "third" in question else 0])


def _solve_logic(question: str) -> str:
    return str(eval(re.findall(r"value of (.*): true", question)[0])).lower()


def _solve_arithmetic(question: str) -> str:
    return str(eval(question.removeprefix("What is ").removesuffix("?")))


SOLVERS = {
    "order": _solve_order,
    "weekday": _solve_weekday,
    "sequence": _solve_sequence,
    "letters": _solve_letters,
    "select": _solve_select,
    "logic": _solve_logic,
    **dict.fromkeys(("add", "subtract", "multiply", "mixed"), _solve_arithmetic),
}


@pytest.mark.parametrize("task", ["arithmetic", "reasoning"])
def test_made_questions_differ_and_their_answers_are_those_of_another_solver(task: str) -> None:
    made = procedural.made_items(task, 300, 7)
    assert len({item.prompt for item in made}) == 300
    wrong = [item for item in made if (SOLVERS[item.id.split("/")[0]](item.prompt),) != item.targets]
    assert wrong == []
    assert procedural.made_items(task, 300, 7) == made
    assert procedural.made_items(task, 300, 8) != made


def test_a_limit_takes_a_seeded_sample_in_the_order_of_the_questions() -> None:
    made = procedural.made_items("arithmetic", 50, 1)
    chosen = items.choose(made, 20, 42, "seeded")
    assert chosen == sorted(chosen, key=made.index)
    assert chosen != made[:20]
    assert items.choose(made, 20, 42, "seeded") == chosen
    assert items.choose(made, 0.05, 42, "head") == made[:3]
