"""Read what generate.py and score.py wrote into the project's samples and claims."""

import json
import math
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError, Scalar
from evaldock_entrypoints.run_eval.job import Job

Row = dict[str, Any]
Key = tuple[str, int]
MODES = ("strict", "loose")


def parse(job: Job) -> Outcome:
    """Return one sample per (prompt, repeat); raises HarnessError where a metric is not theirs."""
    finished = _read_json(job.native_dir / "score.json")
    selection = _read_json(job.native_dir / "selection.json")
    verdicts = {(row["id"], row["repeat"]): row for row in _read_lines(job.native_dir / "scores.jsonl")}
    generations = _read_lines(job.native_dir / "generations.jsonl")
    samples = [_sample(row, verdicts.get((row["id"], row["repeat"]))) for row in generations]
    left_out = _left_out(job)
    notes = [
        *selection["notes"],
        *_left_out_notes(left_out),
        *_language_notes(finished["language_undetected"]),
    ]
    facts: dict[str, Scalar] = {"language_undetected": finished["language_undetected"]}
    return Outcome(
        samples=samples,
        claims=_claims(job, finished["metrics"], samples),
        harness_version=finished["version"],
        num_fewshot=0,
        notes=notes,
        facts=facts | ({"unscorable_prompts": ", ".join(left_out)} if left_out else {}),
    )


def _sample(record: Row, verdict: Row | None) -> Sample:
    """Return a sample; its error is the endpoint's, or that of a check that could not judge the answer."""
    unscored = {"kind": "harness", "message": "the answer was not scored"}
    verdict = verdict or {"error": record.get("error", unscored)}
    if "error" in verdict:
        return Sample(**{**record, "error": SampleError(**verdict["error"])})
    scores = {f"prompt_{mode}": float(all(verdict[mode])) for mode in MODES}
    followed = {f"followed_{mode}": float(sum(verdict[mode])) for mode in MODES}
    return Sample(
        **record,
        scores={**scores, **followed, "instructions": float(len(verdict["instructions"]))},
        correct=all(verdict["strict"]),
    )


def _claims(job: Job, metrics: dict[str, float], samples: list[Sample]) -> list[MetricClaim]:
    """Return the four metrics; those over instructions, no means over samples, are checked here."""
    claims = []
    for mode in MODES if metrics else ():
        name = f"prompt_level_{mode}_acc"
        claims.append(MetricClaim(task=job.task.name, name=name, value=metrics[name], score=f"prompt_{mode}"))
        name = f"inst_level_{mode}_acc"
        _check_over_instructions(name, metrics[name], mode, samples)
        claims.append(MetricClaim(task=job.task.name, name=name, value=metrics[name], method="harness"))
    return claims


def _check_over_instructions(name: str, value: float, mode: str, samples: list[Sample]) -> None:
    scored = [sample.scores for sample in samples if sample.error is None]
    own = sum(each[f"followed_{mode}"] for each in scored) / sum(each["instructions"] for each in scored)
    if not math.isclose(own, value, rel_tol=0, abs_tol=1e-9):
        raise HarnessError(
            f"{name}: the harness reports {value!r}, its own verdicts give {own!r}",
            next_step="look into native/; no score is reported that its samples do not carry",
        )


def _left_out(job: Job) -> list[str]:
    """Return the prompts that no check here can judge; data.py put them apart, and nothing asks them."""
    path = job.data_dir / "allenai" / "IFBench_test" / "unscorable.jsonl"
    if job.task.name != "ifbench" or not path.is_file():
        return []
    return [row["key"] for row in _read_lines(path)]


def _left_out_notes(keys: list[str]) -> list[str]:
    if not keys:
        return []
    return [
        f"{len(keys)} prompts are not asked, for their check (words:start_verb) needs NLTK's tagger, "
        f"which is not in this image: {', '.join(keys)}"
    ]


def _language_notes(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{count} times the language of an answer could not be told, which if-verifiable counts as followed"
    ]


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
        f"ifbench left no finished result: {error}",
        where=str(path),
        next_step="the phase's log says why; the same command resumes",
    )
