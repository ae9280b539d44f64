"""Phase one: ask the endpoint every question once, into generations.jsonl: generate.py JOB.json."""

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from ask import AskError, Client, RefusedError, Reply
from prompts import extract, request_body
from records import (
    GENERATIONS,
    SELECTION,
    Key,
    Record,
    RecordLog,
    choose,
    load_records,
    read_problems,
    write_json,
)

EXIT_ENDPOINT, EXIT_HARNESS, EXIT_INTERRUPTED = 3, 4, 75
PROGRESS_S = 0.5


class UnreachableError(Exception):
    """The endpoint does not answer, so the rest is not asked."""


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

    def answered_by(self, record: Record | None) -> bool:
        """Tell whether a record of an earlier run is an answer to exactly this request."""
        return (
            record is not None
            and "error" not in record
            and record["prompt_hash"] == self.prompt_hash
            and record["seed"] == self.body.get("seed")
        )

    def record(self, rest: Record) -> Record:
        identity = {"id": self.key[0], "repeat": self.key[1], "prompt_hash": self.prompt_hash}
        return {**identity, "seed": self.body.get("seed"), **rest}


@dataclass(kw_only=True)
class Generation:
    """One run of this phase: what it was told, and how far it is."""

    job: dict[str, Any]
    client: Client
    log: RecordLog
    secret: str
    total: int
    done: int = 0
    answered: bool = False  # any HTTP response at all
    unreachable_in_a_row: int = 0
    reported_at: float = 0.0

    async def ask_all(self, questions: Iterator[Question]) -> None:
        """Keep `parallelism` questions in flight; raises RefusedError or UnreachableError at once."""
        self.report()
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(int(self.job["parallelism"])):
                    tasks.create_task(self._work(questions))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(self, questions: Iterator[Question]) -> None:
        for question in questions:
            self.log.append(question.record(await self._ask(question)))
            self.done += 1
            self.report()

    async def _ask(self, question: Question) -> Record:
        try:
            reply = await self.client.ask(question.body)
        except AskError as error:
            self._note_reachable(error)
            return {
                "error": {"kind": "endpoint", "message": hide(str(error), self.secret)},
                "status": error.status,
                "retries": error.retries,
            }
        self.answered, self.unreachable_in_a_row = True, 0
        return answer(self.job["type"], question, reply)

    def _note_reachable(self, error: AskError) -> None:
        """Give up on an endpoint that never answered, or that fails as many times in a row as fly at once."""
        if error.status is not None:
            self.answered, self.unreachable_in_a_row = True, 0
            return
        self.unreachable_in_a_row += 1
        if not self.answered or self.unreachable_in_a_row >= int(self.job["parallelism"]):
            raise UnreachableError(str(error)) from error

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
        "latency_ms": round(reply.latency_ms, 3),
        "retries": reply.retries,
    }


def hide(text: str, secret: str) -> str:
    return text.replace(secret, "***") if secret else text


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
    """Write selection.json and ask what generations.jsonl does not yet answer."""
    native = Path(job["native_dir"])
    native.mkdir(parents=True, exist_ok=True)
    problems = read_problems(Path(job["problem_file"]))
    ids = choose(problems, job.get("limit_samples"), job.get("seed"), job["sampling"])
    questions = list(questions_of(job, problems, ids))
    selection = {"ids": ids, "repeats": int(job["repeats"]), "total": len(problems)}
    write_json(native / SELECTION, {**selection, "notes": notes_of(job, len(ids), len(problems))})
    records = load_records(native / GENERATIONS)
    open_questions = [q for q in questions if not q.answered_by(records.get(q.key))]
    secret = os.environ.get("OPENAI_API_KEY", "")
    with RecordLog(native / GENERATIONS) as log:
        async with http_session(job, secret) as session:
            rng = random.Random()
            client = Client(session=session, url=job["url"], max_retries=int(job["max_retries"]), rng=rng)
            done = len(questions) - len(open_questions)
            run = Generation(job=job, client=client, log=log, secret=secret, total=len(questions), done=done)
            await run.ask_all(iter(open_questions))


def http_session(job: dict[str, Any], secret: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {secret}"} if secret else {},
        timeout=aiohttp.ClientTimeout(total=float(job["request_timeout_s"])),
        connector=aiohttp.TCPConnector(limit=0),
    )


async def run_until_signalled(job: dict[str, Any]) -> int:
    """Return the exit code; SIGTERM and SIGINT drop what is in flight and keep what is finished."""
    task = asyncio.ensure_future(generate(job))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    name = job.get("api_key_name") or "OPENAI_API_KEY"
    try:
        await task
    except asyncio.CancelledError:
        return fail(EXIT_INTERRUPTED, "stopped by a signal", "the same command asks the rest")
    except RefusedError as error:
        message = hide(str(error), os.environ.get("OPENAI_API_KEY", ""))
        return fail(
            EXIT_ENDPOINT, f"{job['url']} refuses access: {message}", f"check the key in the variable {name}"
        )
    except UnreachableError as error:
        return fail(
            EXIT_ENDPOINT,
            f"{job['url']} cannot be reached: {error}",
            "check the URL and that the server runs",
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
    sys.exit(asyncio.run(run_until_signalled(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
