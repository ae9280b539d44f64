"""Ask every question of a task and score the answers: run.py JOB.json."""

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from answers import Record, answered, identity
from ask import AskError, UnreachableError, ask
from items import Item, RefusedError
from procedural import FAMILIES
from prompts import Request, Style, refuse_unaskable, requests_of
from questions import Job, Questions, notes_of, questions_of

EXIT_USAGE, EXIT_ENDPOINT, EXIT_HARNESS = 2, 3, 4
PROGRESS_S = 0.5


def run(job: Job) -> None:
    """Write answers.jsonl and, last of all, run.json.

    Nothing is taken over from an earlier start: the adapter answers what it was asked before, and counts
    identical requests, so every start must ask all of them.
    """
    native = Path(job["native_dir"])
    native.mkdir(parents=True, exist_ok=True)
    finished = native / "run.json"
    finished.unlink(missing_ok=True)
    questions = questions_of(job)
    refuse_unaskable(questions.items, questions.shots, job["type"])
    with (native / "answers.jsonl").open("w", encoding="ascii") as lines:
        records = ask_all(job, questions)
        lines.writelines(json.dumps(record) + "\n" for record in records)
        lines.flush()
        os.fsync(lines.fileno())  # this phase is not run again once it is noted as finished
    summary = {
        "total": questions.total,
        "asked": len(questions.items),
        "num_fewshot": len(questions.shots),
        "notes": notes_of(job, questions),
        "files": questions.files,
        "metrics": metrics_of(job["task"], records),
    }
    draft = finished.with_name(".run.json.draft")
    draft.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    draft.replace(finished)


def ask_all(job: Job, questions: Questions) -> list[Record]:
    """Return the record of each question and repeat: all questions once before any a second time.

    Keeps `parallelism` questions in flight; raises UnreachableError at once.
    """
    style = Style(endpoint_type=job["type"], shots=questions.shots, stop=job.get("stop"))
    with ThreadPoolExecutor(int(job["parallelism"])) as pool:
        waiting = [
            pool.submit(ask_one, job, item, repeat, requests_of(item, style, sampling_of(job, repeat)))
            for repeat in range(int(job["repeats"]))
            for item in questions.items
        ]
        try:
            return collect(waiting)
        except UnreachableError:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def sampling_of(job: Job, repeat: int) -> dict[str, Any]:
    """Return the model and its sampling parameters; repeats differ by their seed."""
    names = {
        "model": "model_id",
        "temperature": "temperature",
        "top_p": "top_p",
        "max_tokens": "max_new_tokens",
    }
    seed = job.get("seed")
    return {key: job[name] for key, name in names.items()} | ({} if seed is None else {"seed": seed + repeat})


def ask_one(job: Job, item: Item, repeat: int, requests: Sequence[Request]) -> Record:
    record = identity(item, repeat, requests)
    try:
        replies = [
            ask(job["url"], each.body, float(job["request_timeout_s"]), each.scored_from) for each in requests
        ]
    except AskError as error:
        return {**record, "error": {"kind": "endpoint", "message": str(error)}}
    return {**record, **answered(item, replies)}


def collect(waiting: Sequence[Future[Record]]) -> list[Record]:
    """Wait for the records in order, and say how far it is."""
    records, reported_at = [], 0.0
    for done, future in enumerate(waiting, start=1):
        records.append(future.result())
        if done == len(waiting) or time.monotonic() - reported_at >= PROGRESS_S:
            reported_at = time.monotonic()
            sys.stdout.write(f"progress {done}/{len(waiting)}\n")
            sys.stdout.flush()
    return records


def metrics_of(task: str, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return each score's mean, over all records and over those of each family of made questions."""
    scored = [record for record in records if "error" not in record]
    names = sorted({name for record in scored for name in record["scores"]})
    wanted = [(name, name, "") for name in names]
    wanted += [(f"acc_{family}", "acc", f"{family}/") for family in FAMILIES.get(task, ())]
    metrics = []
    for name, score, within in wanted:
        values = [record["scores"][score] for record in scored if record["id"].startswith(within)]
        if values:
            metrics.append({"name": name, "score": score, "within": within or None, "value": fmean(values)})
    return metrics


def main(job_file: Path) -> int:
    """Return the exit code."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        run(job)
    except RefusedError as error:
        return fail(
            EXIT_USAGE, "\n  ".join(error.args), "mend it; the harness's README.md shows the form of a row"
        )
    except UnreachableError as error:
        return fail(
            EXIT_ENDPOINT,
            f"no connection to {job['url']}: {error}",
            "evaldock's adapter answers there; its log says why it does not",
        )
    except OSError as error:
        return fail(EXIT_HARNESS, f"{type(error).__name__}: {error}", "check the native folder")
    return 0


def fail(code: int, message: str, next_step: str) -> int:
    sys.stderr.write(f"native: error: {message}\n  next: {next_step}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
