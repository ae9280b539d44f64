"""`evaldock run --explain`: each final value with where it was set."""

from evaldock.compiler import Inputs, Surroundings
from evaldock.compiler.asked import asked_task
from evaldock.document import Written
from evaldock.registry import Registry
from evaldock_entrypoints.contract.explain import Row, document_rows, task_rows

_NOWHERE = Surroundings(run_id="", run_dir="", user="", working_dir="/")


def explained(given: Written, registry: Registry) -> list[Row]:
    """Return (key, value, origin) for every section and every task; raises UsageError."""
    inputs = Inputs(document=given.document, merged=given.merged, registry=registry, pins={}, around=_NOWHERE)
    tasks = [asked_task(inputs, index) for index in range(len(given.document.evaluation.tasks))]
    rows = document_rows(given.document, given.merged)
    return [*rows, *(row for task in tasks for row in task_rows(task.name, task.params, task.extras))]
