"""The Python API inside an image: `/opt/evaldock/bin/python` evaluates with this image's harness."""

import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.files import write_bytes
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
from evaldock_entrypoints.contract.target import ApiEndpoint, AuxiliaryEndpoint
from evaldock_entrypoints.probe.endpoint import check_endpoint
from evaldock_entrypoints.run_eval.cli import PROGRAM, run_eval
from evaldock_entrypoints.run_eval.write import results_path

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


def evaluate(
    eval_cfg: EvaluationConfig,
    target_cfg: EvaluationTarget,
    *,
    accept_incomplete: bool = False,
    allow_code_execution: bool = False,
    overrides: Sequence[str] = (),
) -> EvaluationResult:
    """Run one task as `run_eval` does and return its proven scores; a second call on the folder resumes.

    overrides: assignments as of `run_eval --overrides`. allow_code_execution: tasks that run what the model
    wrote do so in this very container. Raises IncompleteError where a sample is not proven, unless
    accept_incomplete, and every other EvaldockError of a run. What the harness says goes to standard error.
    """
    refuse_other_threads()
    if not eval_cfg.output_dir:
        raise UsageError(
            "no folder for the results given",
            where="EvaluationConfig.output_dir",
            next_step='EvaluationConfig(output_dir="/results", …)',
        )
    folder = Path(eval_cfg.output_dir).absolute()
    with tempfile.TemporaryDirectory(prefix="evaldock-") as name:
        document = Path(name) / "evaluate.yaml"
        write_bytes(document, json.dumps(document_tree(eval_cfg, target_cfg)).encode())
        argv = ["--run_config", str(document), "--output_dir", str(folder)]
        argv += ["--overrides", ",".join(overrides)] if overrides else []
        argv += ["--allow_code_execution"] if allow_code_execution else []
        with contextlib.redirect_stdout(sys.stderr):
            run_eval.main(argv, prog_name=PROGRAM, standalone_mode=False)
    return concluded(_results(folder), folder, accept_incomplete=accept_incomplete)


def _results(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(results_path(folder).read_text(encoding="utf-8"))
    return tree
