"""Phase one: ask the endpoint every prompt once, into generations.jsonl: generate.py JOB.json."""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ask import AskError, UnreachableError, ask
from records import GENERATIONS, SELECTION, Record, choose, read_lines, write_json, write_lines

EXIT_ENDPOINT, EXIT_HARNESS = 3, 4
PROGRESS_S = 0.5


def generate(job: dict[str, Any]) -> None:
    """Write selection.json and ask every prompt into a new generations.jsonl.

    Nothing is taken over from an earlier start: the adapter answers what it was asked before, and counts
    identical requests, so every start must ask all of them.
    """
    native = Path(job["native_dir"])
    native.mkdir(parents=True, exist_ok=True)
    prompts = {str(row["key"]): row["prompt"] for row in read_lines(Path(job["prompt_file"]))}
    ids = choose(list(prompts), job.get("limit_samples"), job.get("seed"), job["sampling"])
    selection = {"ids": ids, "repeats": int(job["repeats"]), "notes": notes_of(job, len(ids), len(prompts))}
    write_json(native / SELECTION, selection)
    write_lines(native / GENERATIONS, ask_all(job, {each: prompts[each] for each in ids}))


def ask_all(job: dict[str, Any], prompts: dict[str, str]) -> list[Record]:
    """Return the record of each prompt and repeat: all prompts once before any a second time.

    Keeps `parallelism` prompts in flight; raises UnreachableError at once.
    """
    with ThreadPoolExecutor(int(job["parallelism"])) as pool:
        waiting = [
            pool.submit(ask_one, job, prompt_id, prompt, repeat)
            for repeat in range(int(job["repeats"]))
            for prompt_id, prompt in prompts.items()
        ]
        try:
            return collect(waiting)
        except UnreachableError:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def ask_one(job: dict[str, Any], prompt_id: str, prompt: str, repeat: int) -> Record:
    """Return a record, with an error in place of an answer where there is none."""
    body = {
        "model": job["model_id"],
        "messages": [{"role": "user", "content": prompt}],
        "temperature": job["temperature"],
        "top_p": job["top_p"],
        "max_tokens": job["max_new_tokens"],
    }
    record = {"id": prompt_id, "repeat": repeat, "prompt_hash": hash_of(body)}
    seed = job.get("seed")
    seeded = body if seed is None else {**body, "seed": seed + repeat}
    try:
        return {**record, **ask(job["url"], seeded, float(job["request_timeout_s"]))}
    except AskError as error:
        return {**record, "error": {"kind": "endpoint", "message": str(error)}}


def hash_of(body: dict[str, Any]) -> str:
    """SHA-256 of the body as canonical JSON, without the seed, by which alone repeats differ."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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


def notes_of(job: dict[str, Any], chosen: int, total: int) -> list[str]:
    """Return what a reader of the score must know about what was asked."""
    notes = []
    if chosen < total and job["sampling"] == "seeded":
        notes.append(f"sampled {chosen} of {total} with seed {job.get('seed')}")
    elif chosen < total:
        notes.append(f"asked the first {chosen} of {total}")
    if int(job["repeats"]) > 1 and job["temperature"] == 0:
        notes.append(
            f"{job['repeats']} repeats at temperature 0: the answers to one prompt may all be the same"
        )
    return notes


def main(job_file: Path) -> int:
    """Return the exit code."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        generate(job)
    except UnreachableError as error:
        return fail(
            EXIT_ENDPOINT,
            f"no connection to {job['url']}: {error}",
            "evaldock's adapter answers there; its log says why it does not",
        )
    except (OSError, ValueError, KeyError) as error:
        return fail(EXIT_HARNESS, f"{type(error).__name__}: {error}", "check the job file and the data")
    return 0


def fail(code: int, message: str, next_step: str) -> int:
    sys.stderr.write(f"ifbench: error: {message}\n  next: {next_step}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
