"""The Python API of the host: one task, run in containers as `evaldock run` runs it."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from evaldock.document import NO_FLAGS, Written, written
from evaldock.executors.quiet import QuietEvents
from evaldock.preflight import refuse_unready
from evaldock.registry import load_registry
from evaldock.session import execute, make_plan, new_run_id
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import Layer
from evaldock_entrypoints.contract.overrides import override_layer
from evaldock_entrypoints.contract.python_api import (
    ConfigParams,
    EndpointType,
    EvaluationConfig,
    EvaluationResult,
    EvaluationTarget,
    concluded,
    document_tree,
    refuse_other_threads,
)
from evaldock_entrypoints.contract.reading import read
from evaldock_entrypoints.contract.target import ApiEndpoint, AuxiliaryEndpoint
from evaldock_entrypoints.probe.endpoint import check_endpoint

__all__ = [
    "ApiEndpoint",
    "AuxiliaryEndpoint",
    "ConfigParams",
    "EndpointType",
    "EvaluationConfig",
    "EvaluationResult",
    "EvaluationTarget",
    "check_endpoint",
    "evaluate",
]

_LOG = logging.getLogger("evaldock")


def evaluate(
    eval_cfg: EvaluationConfig,
    target_cfg: EvaluationTarget,
    *,
    accept_incomplete: bool = False,
    overrides: Sequence[str] = (),
) -> EvaluationResult:
    """Run one task in containers and return its proven scores.

    overrides: assignments as of `evaldock run -o`, such as "execution.engine=podman". Raises IncompleteError
    where a sample is not proven, unless accept_incomplete, and every other EvaldockError of a run. Progress
    is logged under "evaldock".
    """
    refuse_other_threads()
    registry = load_registry()
    document = Layer(tree=document_tree(eval_cfg, target_cfg), name="evaluate()")
    found = read([document], flags=NO_FLAGS, overrides=override_layer(overrides), environ=os.environ)
    for note in found.notes:
        _LOG.info("note: %s", note)
    given = written(found.merged, Path.cwd(), registry)
    _refuse_number(given)
    plan = make_plan(given, run_id=new_run_id(), registry=registry)
    environ = {**os.environ, **found.keys}
    refuse_unready(plan, given.merged, environ, _LOG.info)
    (end,) = execute(plan, QuietEvents(_LOG.info), environ, given.merged)
    return concluded(end.results, end.folder, accept_incomplete=accept_incomplete)


def _refuse_number(given: Written) -> None:
    """Raise UsageError unless there is one task."""
    count = len(given.document.evaluation.tasks)
    if count != 1:
        raise UsageError(
            f"evaluate() runs one task, and {count} are given",
            where="EvaluationConfig.type",
            next_step="name one; `evaldock run` takes a document with several",
        )
