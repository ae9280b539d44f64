"""`evaldock exchanges`."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click

from evaldock.analysis.exchange_text import text_of, tree_of
from evaldock.analysis.exchanges import Found, Search, Wanted
from evaldock.analysis.records import RunRecord, TaskRecord
from evaldock.analysis.runs import chosen_run
from evaldock.cli.options import chooses_run
from evaldock.visible_text import clipped, one_line, visible
from evaldock_entrypoints.command_line import did_you_mean
from evaldock_entrypoints.contract.errors import UsageError

_KEY_DIGITS = 10
_TEXT_LENGTH = 44


@click.command()
@chooses_run(required=False)
@click.option("--task", help="Only of this task: harness.task, or the task's name.")
@click.option("--grep", metavar="TEXT", help="Only those with this text, or regular expression, in a body.")
@click.option("--failed", is_flag=True, help="Only those that got no answer.")
@click.option("--truncated", is_flag=True, help="Only those that the length limit cut.")
@click.option("--show", "key", metavar="KEY", help="Print those whose key begins with KEY whole.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with both bodies, and nothing else.")
def exchanges(
    run_id: str | None,
    output_dir: Path,
    task: str | None,
    grep: str | None,
    failed: bool,
    truncated: bool,
    key: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show what the run whose id begins with RUN_ID (default: the newest) asked and was answered.

    \b
    evaldock exchanges
    evaldock exchanges 20260131T --failed
    evaldock exchanges --grep "prime number" --limit 5
    evaldock exchanges --show 6d1f02
    """
    run = chosen_run(output_dir, run_id)
    wanted = Wanted(key=key or "", is_failed=failed, is_truncated=truncated, pattern=grep)
    search = Search(tasks=_tasks(run, task), wanted=wanted)
    found = islice(search.results(), limit)
    count = _print_json(found) if as_json else _print_all(found, _whole if key else _line)
    _say(search, run, count)


def _tasks(run: RunRecord, name: str | None) -> Sequence[TaskRecord]:
    tasks = [task for task in run.tasks if name in (None, task.name, task.task)]
    if tasks or name is None:
        return tasks
    names = [task.name for task in run.tasks]
    raise UsageError(
        f'the run has no task "{one_line(name)}"',
        where=f"--task {one_line(name)}",
        next_step=did_you_mean(name, names) or f"one of: {', '.join(names)}",
    )


def _print_json(found: Iterable[Found]) -> int:
    """Print an array, each exchange as it is read; return how many."""
    count = 0
    for one in found:
        click.echo(",\n" if count else "[\n", nl=False)
        click.echo(json.dumps(_tree(one)), nl=False)
        count += 1
    click.echo("\n]" if count else "[]")
    return count


def _print_all(found: Iterable[Found], form: Callable[[Found], str]) -> int:
    count = 0
    for one in found:
        click.echo(form(one))
        count += 1
    return count


def _say(search: Search, run: RunRecord, count: int) -> None:
    """Say on standard error what the list does not."""
    if search.damaged:
        click.echo(f"evaldock: note: damaged places, left out: {search.damaged}", err=True)
    if not search.folders:
        click.echo(f"evaldock: note: {run.run_id} holds no exchanges", err=True)
    elif not count:
        click.echo("evaldock: note: no exchange is like that", err=True)


def _line(found: Found) -> str:
    """Return an exchange in one line: key, task, route, status, end, tokens, time, tries, source, words."""
    exchange, facts = found.exchange, found.exchange.facts
    digest, _, ordinal = found.key.partition(":")
    columns = [
        f"{digest[:_KEY_DIGITS]}:{ordinal}",
        found.task,
        exchange.route.strip("/") if exchange.role is None else f"{exchange.role}: {exchange.route}",
        str(exchange.status),
        facts.error or ",".join(facts.finish_reasons) or "-",
        _tokens(facts.prompt_tokens, facts.completion_tokens),
        f"{facts.latency_ms:.0f} ms" if facts.latency_ms < 1000 else f"{facts.latency_ms / 1000:.1f} s",
        *([f"{facts.attempts} attempts"] if facts.attempts > 1 else []),
        "no answer" if facts.error else found.received or "not received",
    ]
    words = f"{_short(found.asked)} → {_short(found.said)}"
    return "  ".join([*(one_line(clipped(column, _TEXT_LENGTH)) for column in columns), words])


def _tokens(prompt: int | None, completion: int | None) -> str:
    if prompt is None and completion is None:
        return "? tokens"
    return "+".join("?" if count is None else str(count) for count in (prompt, completion)) + " tokens"


def _short(text: str) -> str:
    return one_line(clipped(" ".join(text[: 4 * _TEXT_LENGTH].split()), _TEXT_LENGTH))


def _whole(found: Found) -> str:
    exchange = found.exchange
    return "\n".join(
        [_line(found), *_body("request", exchange.request), *_body("response", exchange.response)]
    )


def _body(name: str, body: bytes) -> Iterator[str]:
    tree = tree_of(body)
    yield f"\n--- {name}, {len(body)} bytes"
    yield visible(text_of(body) if tree is None else json.dumps(tree, indent=2, ensure_ascii=False))


def _tree(found: Found) -> dict[str, Any]:
    exchange = found.exchange
    facts = asdict(exchange.facts)
    started_at = facts.pop("started_at")
    return {
        "task": found.task,
        "key": found.key,
        "session": found.session,
        "role": exchange.role,
        "route": exchange.route,
        "status": exchange.status,
        "content_type": exchange.content_type,
        "is_stream": exchange.is_stream,
        "received": found.received,
        "started_at": _time(started_at),
        **facts,
        "request": _value(exchange.request),
        "response": _value(exchange.response),
    }


def _time(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def _value(body: bytes) -> Any:
    """Return a body as JSON where it is that, else as text."""
    tree = tree_of(body)
    return text_of(body) if tree is None else tree
