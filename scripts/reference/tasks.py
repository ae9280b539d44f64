"""docs/reference/tasks.md: harnesses, their tasks and what these take, from the catalogue."""

from scripts.reference.markdown import code, page, section, table

from evaldock.registry import HarnessEntry, load_registry
from evaldock_entrypoints.contract.framework import Task

_INTRODUCTION = """\
Every harness of the catalogue with its tasks. A task is written as `task`, or as `harness.task` where two
harnesses share a name. Extras stand under `params.extra` of a task, or under `evaluation.params.extra` for
every task. `evaldock ls tasks` prints this list, `run_eval describe TASK` one entry."""
_TASK_HEADS = ("task", "endpoint types", "few-shot", "sets", "metric", "data licence", "meaning")


def text() -> str:
    """Return the page."""
    harnesses = load_registry().harnesses
    return page("Tasks", _INTRODUCTION, [_section(name, entry) for name, entry in harnesses.items()])


def _section(name: str, entry: HarnessEntry) -> str:
    definition = entry.definition
    extras = [
        (code(extra), declared.type, _shown(declared.default), declared.description)
        for extra, declared in definition.extras.items()
    ]
    about = definition.framework
    return section(
        name,
        f"{about.description} ([{about.name} {about.version}]({about.source}), {about.license}).",
        table(("extra", "type", "default", "meaning"), extras),
        table(_TASK_HEADS, [_row(task) for task in definition.tasks]),
    )


def _row(task: Task) -> tuple[str, ...]:
    sets = [f"{name}: {value}" for name, value in (task.params | task.extras).items()]
    licences = sorted({source.license for source in task.data})
    return (
        code(task.name),
        ", ".join(task.endpoint_types),
        _fewshot(task),
        ", ".join(code(one) for one in sets),
        code(task.primary_metric) if task.primary_metric else "",
        ", ".join(licences),
        "; ".join(part for part in (task.description, task.note) if part),
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
