"""Ask the questions and write every answer down: ask.py JOB.json. What failed is written down as failed."""

import json
import math
import random
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def chosen(items: list[Row], limit: float | None, seed: int | None) -> list[Row]:
    """Return the items that a limit leaves, a number or a share below 1: a random choice by the seed."""
    if limit is None:
        return items
    count = math.ceil(limit * len(items)) if limit < 1 else min(int(limit), len(items))
    kept = sorted(random.Random(seed).sample(range(len(items)), count))
    return [items[index] for index in kept]


def body_of(job: Row, question: str) -> Row:
    """Return a request that is the same at each start."""
    body: Row = {"model": job["model"], "max_tokens": job["max_tokens"]}
    if job["type"] == "chat":
        body["messages"] = [{"role": "user", "content": question}]
    else:
        body["prompt"] = question
    return body | ({"temperature": job["temperature"]} if "temperature" in job else {})


def ask(job: Row, question: str) -> tuple[str, str | None]:
    """Return answer and finish reason; raises OSError or ValueError where there is none."""
    data = json.dumps(body_of(job, question)).encode()
    request = urllib.request.Request(job["url"], data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=job["timeout_s"]) as response:
        choice = json.load(response)["choices"][0]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    return text or "", choice.get("finish_reason")


def row(job: Row, item: Row) -> Row:
    """Return what became of one question: an error is an error, never a wrong answer."""
    try:
        answer, finish_reason = ask(job, item["question"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        return {**item, "error": f"{type(error).__name__}: {error}"}
    return {**item, "answer": answer, "finish_reason": finish_reason}


def main(job: Row) -> None:
    """Ask all of them, some at a time, from the first one on: the adapter remembers, this does not."""
    items = json.loads(Path(job["questions"]).read_text(encoding="utf-8"))
    wanted = chosen(items, job.get("limit"), job.get("seed"))
    rows: list[Row] = []
    with ThreadPoolExecutor(job["parallelism"]) as pool:
        for found in pool.map(lambda item: row(job, item), wanted):
            rows.append(found)
            sys.stdout.write(f"asked {len(rows)}/{len(wanted)}\n")
            sys.stdout.flush()
    Path(job["answers"]).parent.mkdir(parents=True, exist_ok=True)
    Path(job["answers"]).write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
