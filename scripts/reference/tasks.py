"""The catalogue's harnesses: docs/reference/tasks.md lists them, docs/harnesses/NAME.md is one's page.

A page is the README of the harness's folder and, from the catalogue, what it takes and which tasks it has.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.reference.markdown import GENERATED, code, page, section, table

from evaldock.registry import HarnessEntry, load_registry
from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.framework import Extra, Task

_INTRODUCTION = """\
Every harness of the catalogue; its page has its tasks and extras. A task is written as `task`, or as
`harness.task` where several harnesses have one of that name. `evaldock ls tasks` prints all of them,
`run_eval describe TASK` one."""
_TASK_HEADS = ("task", "endpoint types", "few-shot", "sets", "metric", "data licence", "meaning")


def text() -> str:
    """Return the list."""
    rows = [
        (
            f"[{name}](../harnesses/{name}.md)",
            entry.version,
            str(len(entry.definition.tasks)),
            ", ".join(dict.fromkeys(kind for task in entry.definition.tasks for kind in task.endpoint_types)),
            entry.definition.framework.license,
            entry.description,
        )
        for name, entry in load_registry().harnesses.items()
    ]
    heads = ("harness", "version", "tasks", "endpoint types", "licence", "what it is")
    return page("Tasks", _INTRODUCTION, [table(heads, rows) + "\n"])


def harness_pages() -> Mapping[str, str]:
    """Return file name → text."""
    folder = checkout_root() / "harnesses"
    return {f"{name}.md": _page(folder / name, entry) for name, entry in load_registry().harnesses.items()}


def _page(folder: Path, entry: HarnessEntry) -> str:
    path = folder / "README.md"
    readme = path.read_text(encoding="utf-8") if path.is_file() else f"# {folder.name}\n"
    definition = entry.definition
    about = definition.framework
    named = f"{about.name} {about.version}"
    linked = f"[{named}]({about.source})" if about.source.startswith("https://") else named
    head = f"{linked}, {about.license}."
    extras = [(code(name), *_described(extra)) for name, extra in definition.extras.items()]
    parts = [
        section("Tasks", head, table(_TASK_HEADS, [_row(task) for task in definition.tasks])),
        section(
            "Extras",
            "Under `params.extra` of a task, or `evaluation.params.extra` for all.",
            table(("extra", "type", "default", "meaning"), extras),
        )
        if extras
        else "",
        *_undeclared(entry),
    ]
    return "\n".join([GENERATED, readme.replace("](../../docs/", "](../"), *(part for part in parts if part)])


def _described(extra: Extra) -> tuple[str, str, str]:
    choices = f" ({', '.join(map(code, extra.choices))})" if extra.choices else ""
    return extra.type, _shown(extra.default), f"{extra.description}{choices}"


def _undeclared(entry: HarnessEntry) -> Iterator[str]:
    name, kinds = entry.definition.name, entry.definition.undeclared
    if kinds is not None:
        yield section(
            "Further tasks",
            f"Any other task that it knows runs as `{name}.NAME`, marked as undeclared: {kinds.note}.",
        )


def _row(task: Task) -> tuple[str, ...]:
    sets = [f"{name}: {value}" for name, value in (task.params | task.extras).items()]
    licences = sorted({source.license for source in task.data})
    needs = [f"needs a further model: {', '.join(task.auxiliary)}"] if task.auxiliary else []
    return (
        code(task.name),
        ", ".join(task.endpoint_types),
        _fewshot(task),
        ", ".join(code(one) for one in sets),
        code(task.primary_metric) if task.primary_metric else "",
        ", ".join(licences),
        "; ".join(part for part in (task.description, *needs, task.note) if part),
    )


def _fewshot(task: Task) -> str:
    shots = "" if task.default_fewshot is None else str(task.default_fewshot)
    return (
        f"{shots} (examples not in the image)"
        if shots not in ("", "0") and not task.fewshot_available
        else shots
    )


def _shown(default: object) -> str:
    return "" if default is None else code(str(default))
