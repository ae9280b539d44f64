"""Which questions a job asks: made from a seed, brought by the harness, or the user's own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from items import Item, RefusedError, Scorer, choose
from own_file import OwnFile, read_own_file
from procedural import FAMILIES, made_items

Job = dict[str, Any]  # run.json, as framework.yml lists it
SHIPPED = ("smoke", "smoke_logprob")


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked, out of how many, after which examples; files: what the user's files are known by."""

    items: Sequence[Item]
    total: int
    shots: Sequence[Item] = ()
    files: dict[str, Any]


def questions_of(job: Job) -> Questions:
    """Return the job's questions; raises RefusedError where they cannot be had."""
    if job["task"] in FAMILIES:
        return _chosen(job, made_items(job["task"], job["items"], job.get("seed")))
    if job["task"] in SHIPPED:
        return _chosen(job, shipped_items(Path(job["data_dir"]) / job["task"] / "test.jsonl"))
    own = _own(job, "file")
    if own is None:
        raise RefusedError(f"params.extra.file: {job['task']} asks your own questions; name their file")
    examples = _own(job, "fewshot_file")
    shots = _shots(examples, job.get("num_fewshot"))
    _refuse_leak(own, shots)
    files = _known_by("file", own) | (_known_by("fewshot_file", examples) if examples else {})
    return _chosen(job, own.items, shots, files)


def shipped_items(path: Path) -> list[Item]:
    """Return the questions of a file of this image."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Item(**{**row, "framed": True, "choices": tuple(row.get("choices", ()))}) for row in rows]


def notes_of(job: Job, questions: Questions) -> list[str]:
    """Return what a reader of the score must know about what was asked."""
    chosen, notes = len(questions.items), []
    if chosen < questions.total and job["sampling"] == "seeded":
        notes.append(f"sampled {chosen} of {questions.total} with seed {job.get('seed')}")
    elif chosen < questions.total:
        notes.append(f"asked the first {chosen} of {questions.total}")
    if int(job["repeats"]) > 1 and job["temperature"] == 0:
        notes.append(
            f"{job['repeats']} repeats at temperature 0: the answers to one question may all be the same"
        )
    return notes


def _chosen(
    job: Job, items: Sequence[Item], shots: Sequence[Item] = (), files: dict[str, Any] | None = None
) -> Questions:
    chosen = choose(items, job.get("limit_samples"), job.get("seed"), job["sampling"])
    return Questions(items=chosen, total=len(items), shots=shots, files=files or {})


def _own(job: Job, extra: str) -> OwnFile | None:
    path = job.get(extra)
    # An example is shown and not scored, so its target may be any text.
    scorer: Scorer = "exact" if extra == "fewshot_file" else job["scorer"]
    return read_own_file(Path(path), job["task"], scorer, extra) if path else None


def _shots(examples: OwnFile | None, count: int | None) -> Sequence[Item]:
    """Return the first `count` examples, all of them where no number is given."""
    rows = examples.items if examples else ()
    if count is None:
        return rows
    if not 0 <= count <= len(rows):
        raise RefusedError(f"params.extra.num_fewshot: {count}: there are {len(rows)} rows in fewshot_file")
    return rows[:count]


def _refuse_leak(own: OwnFile, shots: Sequence[Item]) -> None:
    asked = {item.text: item.id for item in own.items}
    for shot in shots:
        if shot.text in asked:
            raise RefusedError(
                f'few-shot row "{shot.id}" is the question "{asked[shot.text]}" of {own.place}: it would be '
                "shown with its answer"
            )


def _known_by(name: str, file: OwnFile) -> dict[str, Any]:
    return {f"{name}_sha256": file.sha256, f"{name}_records": len(file.items)}
