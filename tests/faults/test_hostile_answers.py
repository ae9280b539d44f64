"""Answers that attack the container in which the harness executes them in its own process."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kit import hostile_code as code
from tests.kit.fault_runs import ITEMS, Ran, asked, document, run_plan
from tests.kit.toy import toy_plan

from evaldock.plan import REPLAY_LIMITS, Limits, Plan
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]

ATTACKER = 7  # whose right answer is code.WON
KEY_NAME, KEY = "TOY_SECRET", "sk-canary-in-no-sandbox"


@contextmanager
def endpoint_with(folder: Path, attack: str, wrong: int = 0) -> Iterator[RunningEndpoint]:
    """Answer every sum with code that is right, but for the attack and the last `wrong` ones."""
    answers = {n: f"result = {2 * n if n < ITEMS - wrong else 0}" for n in range(ITEMS)} | {ATTACKER: attack}
    rows = [
        {"id": str(n), "match": f"What is {n} + {n}?", "kind": "generate", "right": text, "wrong": text}
        for n, text in answers.items()
    ]
    table = folder / "code.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with running_endpoint(answers=[table], share=1.0) as running:
        yield running


def limited(plan: Plan, limits: Limits) -> Plan:
    """Return the plan with other limits of its sandboxes."""
    (evaluation,) = plan.evaluations
    units = (replace(unit, limits=limits) if unit.role == "scoring" else unit for unit in evaluation.units)
    return replace(plan, evaluations=(replace(evaluation, units=tuple(units)),))


def run(
    folder: Path, attack: str, *, wrong: int = 0, limits: Limits = REPLAY_LIMITS, **execution: Any
) -> Ran:
    """Run the toy on answers of which one attacks; nothing that it does may reach the endpoint again."""
    with endpoint_with(folder, attack, wrong) as endpoint:
        plan = toy_plan(
            folder / "out",
            endpoint.url,
            over=document(),
            answers_are_code=True,
            key_name=KEY_NAME,
            **execution,
        )
        ran = run_plan(limited(plan, limits))
        assert set(asked(endpoint).values()) == {1}, ran.said
        assert endpoint.stats()["unmatched"] <= 2  # what the preflight asks
    return ran


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_NAME, KEY)


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(code.CALL_OUT, id="network"),
        pytest.param(code.WRITE, id="files"),
        pytest.param(code.FIND_KEY, id="key"),
        pytest.param(code.ASK, id="adapter"),
        pytest.param(code.FORK, id="forks"),
        pytest.param(code.FILL_TMP, id="tmp"),
        pytest.param(code.LEAVE, id="leave"),
    ],
)
def test_an_answer_that_attacks_is_wrong_and_the_others_are_scored_as_ever(
    tmp_path: Path, attack: str
) -> None:
    ran = run(tmp_path, attack)
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.score == ((ITEMS - 1) / ITEMS, ITEMS)
    wrong = [item for item, (_, is_right) in ran.answers().items() if not is_right]
    assert wrong == [str(ATTACKER)]


def test_memory_of_the_processes_beside_is_read_and_holds_no_key(tmp_path: Path) -> None:
    """That FIND_KEY finds nothing says something only where it could look."""
    ran = run(tmp_path, code.FIND_KEY)
    log = next((ran.folder / "logs").glob("container-*score.log")).read_text(encoding="utf-8")
    (looked,) = (int(line.split()[2]) for line in log.splitlines() if line.startswith("looked at"))
    assert looked > 2**20


@pytest.mark.parametrize(
    ("attack", "ended", "message"),
    [
        pytest.param(code.KILL_ADAPTER, ExitCode.EXECUTION, "the adapter ended by itself", id="adapter"),
        pytest.param(code.KILL_RUN_EVAL, ExitCode.EXECUTION, "killed by SIGKILL", id="run_eval"),
        pytest.param(code.END, ExitCode.HARNESS, "wrote no verdicts", id="end"),
        pytest.param(code.END_WITH_A_WORD, ExitCode.HARNESS, "exited with status 3", id="word"),
        pytest.param(code.HOARD, ExitCode.EXECUTION, "out of memory", id="memory"),
    ],
)
def test_an_answer_that_ends_the_scoring_ends_it_with_a_word_and_without_a_score(
    tmp_path: Path, measured: Callable[..., None], attack: str, ended: ExitCode, message: str
) -> None:
    ran = run(tmp_path, attack, limits=replace(REPLAY_LIMITS, memory="512m"))
    measured(wall_s=ran.wall_s)
    assert ran.code is ended, ran.said
    assert message in ran.said
    assert "refuses the key" not in ran.said
    assert ran.results["results"]["tasks"] == {}
    assert ran.wall_s < 60


@pytest.mark.parametrize("attack", [code.NO_END, code.STOP_ADAPTER], ids=["loop", "stopped adapter"])
def test_an_answer_that_holds_the_scoring_up_does_so_until_the_time_limit(
    tmp_path: Path, measured: Callable[..., None], attack: str
) -> None:
    ran = run(tmp_path, attack, time_limit="00:00:15")
    measured(wall_s=ran.wall_s)
    assert ran.code is ExitCode.INTERRUPTED, ran.said
    assert "time limit" in ran.said
    assert ran.results["results"]["tasks"] == {}
    assert 15 < ran.wall_s < 60


def test_an_answer_can_forge_verdicts_and_neither_answers_nor_counts(tmp_path: Path) -> None:
    """What stays open where answers are executed in the process that judges them."""
    ran = run(tmp_path, code.FORGE_VERDICTS, wrong=5)
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.score == ((ITEMS - 1) / ITEMS, ITEMS)  # the forger itself had been judged when it took over
    assert ran.results["completeness"]["scored"] == ITEMS
    answers = ran.answers()
    assert [answers[str(n)][0] for n in range(ITEMS - 5, ITEMS)] == ["result = 0"] * 5
