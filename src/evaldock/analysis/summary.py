"""Writes summary.json: a run's results for programs."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaldock.analysis.records import MetricRow, RunRecord, TaskRecord
from evaldock.analysis.runs import read_run
from evaldock_entrypoints.contract.files import write_json

SCHEMA = "evaldock/summary/v1"
SUMMARY_FILE = "summary.json"


def write_summary(run_dir: Path) -> Path:
    """Write summary.json into the run's folder and return its path; raises UsageError where no run is."""
    path = run_dir / SUMMARY_FILE
    write_json(path, summary_tree(read_run(run_dir)))
    return path


def summary_tree(run: RunRecord) -> dict[str, Any]:
    """Return the tree of summary.json. Scores stand under `metrics`, never a partial figure."""
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "status": run.status,
        "model_id": run.model_id,
        "tasks": [_task_tree(task) for task in run.tasks],
        "problems": list(run.problems),
    }


def _task_tree(task: TaskRecord) -> dict[str, Any]:
    return {
        "name": task.name,
        "harness": task.harness,
        "task": task.task,
        "status": task.status,
        "metrics": [_metric_tree(metric) for metric in task.metrics if not metric.partial],
        "partial": [_metric_tree(metric) for metric in task.metrics if metric.partial],
        "completeness": task.completeness.model_dump() if task.completeness else None,
        "reasons": list(task.reasons),
        "error": asdict(task.error) if task.error else None,
        "problems": list(task.problems),
        "num_fewshot": task.num_fewshot,
        "params": dict(task.params),
        "extras": dict(task.extras),
        "notes": list(task.notes),
        "endpoint": asdict(task.endpoint),
        "provenance": asdict(task.provenance),
        "traffic": asdict(task.traffic) if task.traffic else None,
    }


def _metric_tree(metric: MetricRow) -> dict[str, Any]:
    tree = asdict(metric)
    del tree["partial"]
    return tree
