"""Writes results.yml, samples.jsonl.zst and metrics.json of one task."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.contract.files import make_way, write_json, write_jsonl_zst, write_yaml
from evaldock_entrypoints.contract.results import SCHEMA, Outcome, Sample, Status, error_record
from evaldock_entrypoints.contract.results_schema import results_schema_file
from evaldock_entrypoints.exchanges.traffic import SessionTraffic, Traffic, percentiles
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.phases import phase_argv
from evaldock_entrypoints.run_eval.prove import Proof, as_results

RESULTS_FILE = "results.yml"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a run knows of itself. Times in RFC 3339; network: what the probe of the seal found."""

    started_at: str
    ended_at: str
    network: Mapping[str, Any] | None = None


def write_results(
    job: Job, outcome: Outcome, proof: Proof, traffic: SessionTraffic | None, record: Record
) -> None:
    """Write all three files; results.yml last, so that its presence means that the others are whole."""
    samples_path, metrics_path = job.output_dir / "samples.jsonl.zst", job.output_dir / "metrics.json"
    for path in (samples_path, metrics_path):
        make_way(path)
    write_jsonl_zst(samples_path, (sample.model_dump_json() for sample in outcome.samples))
    write_json(metrics_path, traffic_metrics(outcome.samples, traffic))
    is_whole = proof.status == "complete"
    tree = _head(job, proof.status)
    tree["results"] = {
        "tasks": as_results(proof.tasks) if is_whole else {},
        "groups": as_results(proof.groups) if is_whole else {},
    }
    if not is_whole:
        tree["partial"] = {
            "reasons": list(proof.reasons),
            "missing": proof.completeness.expected - proof.completeness.scored,
            "tasks": as_results(proof.tasks),
            "groups": as_results(proof.groups),
        }
    tree["completeness"] = proof.completeness.model_dump()
    tree["provenance"] = _provenance(job, outcome, record)
    if job.task.note or outcome.notes:
        tree["notes"] = [*outcome.notes, *([job.task.note] if job.task.note else [])]
    _write(job, tree)


def write_failure(job: Job, error: EvaldockError, record: Record) -> None:
    """Write results.yml of a task that has no result: failed or interrupted, and why."""
    status: Status = "interrupted" if error.exit_code == error.exit_code.INTERRUPTED else "failed"
    tree = _head(job, status)
    tree["results"] = {"tasks": {}, "groups": {}}
    tree["error"] = error_record(error)
    tree["provenance"] = _provenance(job, None, record)
    _write(job, tree)


def _write(job: Job, tree: dict[str, Any]) -> None:
    header = f"# {SCHEMA}, written by run_eval\n"
    make_way(job.output_dir / RESULTS_FILE)
    write_yaml(job.output_dir / RESULTS_FILE, tree, header=header, schema=results_schema_file())


def _head(job: Job, status: Status) -> dict[str, Any]:
    endpoint = job.endpoint
    return {
        "schema": SCHEMA,
        "status": status,
        "command": [phase_argv(job, phase) for phase in job.phases],
        "config": {
            "type": job.task.name,
            "harness": job.framework.name,
            "primary_metric": job.task.primary_metric,
            "output_dir": str(job.output_dir),
            "params": {**job.params, "extra": job.extras},
        },
        "target": {
            "api_endpoint": {
                "url": endpoint.url,
                "model_id": endpoint.model_id,
                "type": endpoint.type,
                "api_key_name": endpoint.api_key_name,
                "adapter_config": {
                    "interceptors": [one.model_dump(mode="json", exclude_defaults=True) for one in job.chain]
                },
            },
            **({"auxiliary": _auxiliary(job)} if job.auxiliary else {}),
        },
    }


def _auxiliary(job: Job) -> dict[str, Any]:
    return {
        role: {
            "url": model.endpoint.url,
            "model_id": model.endpoint.model_id,
            "type": model.endpoint.type,
            "api_key_name": model.endpoint.api_key_name,
            **model.params,
        }
        for role, model in job.auxiliary.items()
    }


def _provenance(job: Job, outcome: Outcome | None, record: Record) -> dict[str, Any]:
    datasets = {source.dataset for source in job.task.data}
    return {
        "harness": job.framework.name,
        "harness_version": (outcome.harness_version if outcome else None) or job.framework.framework.version,
        "image_digest": os.environ.get("EVALDOCK_IMAGE_DIGEST"),
        "image_id": os.environ.get("EVALDOCK_IMAGE_ID"),
        "image_origin": os.environ.get("EVALDOCK_IMAGE_ORIGIN"),
        "seed": job.params["seed"],
        "num_fewshot": outcome.num_fewshot if outcome else None,
        "data": [entry for entry in job.manifest if entry["dataset"] in datasets],
        "facts": dict(outcome.facts) if outcome else {},
        "network": dict(record.network) if record.network else None,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
    }


def traffic_metrics(samples: Sequence[Sample], traffic: SessionTraffic | None) -> dict[str, Any]:
    """Return the task's figures as the adapter saw them, over all sessions: times in ms, tokens as told."""
    if traffic is None:
        return {"samples": len(samples)}
    auxiliary = {role: _figures(found) for role, found in traffic.roles.items() if role is not None}
    return {
        "samples": len(samples),
        **_figures(traffic.target),
        "auxiliary": auxiliary,
        "corrupt_exchanges": traffic.corrupt,
    }


def _figures(traffic: Traffic) -> dict[str, Any]:
    return {
        "requests": traffic.requests,
        "cached": traffic.cached,
        "retried": traffic.retried,
        "failed": len(traffic.outstanding),
        "latency_ms": percentiles(traffic.latencies_ms),
        "ttft_ms": percentiles(traffic.ttfts_ms),
        "prompt_tokens": traffic.prompt_tokens,
        "completion_tokens": traffic.completion_tokens,
        "reasoning_tokens": traffic.reasoning_tokens,
        "finish_reasons": dict(sorted(traffic.finish_reasons.items())),
        "served_models": dict(sorted(traffic.served_models.items())),
    }


def results_path(folder: Path) -> Path:
    """Return where the results of a task's folder stand."""
    return folder / RESULTS_FILE
