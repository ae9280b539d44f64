"""What the wheel's parse_output returned, as claims."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome
from evaldock_entrypoints.contract.vendor.folder import OUTPUT
from evaldock_entrypoints.run_eval.job import Job


def vendor_claims(job: Job, folder: str = "") -> list[MetricClaim]:
    """Return every figure of the wheel, as its own; raises HarnessError where there are none to read.

    folder: below native/, where the figures are of a start in a sandbox.
    """
    path = job.native_dir / folder / OUTPUT
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return [*_of(tree.get("tasks") or {}, group=False), *_of(tree.get("groups") or {}, group=True)]
    except (OSError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(
            f"what the wheel's parse_output returned cannot be read: {error}",
            where=str(path),
            next_step="read the log of the phase output",
        ) from error


def parse(job: Job) -> Outcome:
    """Return the wheel's figures without a sample: the outcome of a folder that has no results.py."""
    vendor = job.framework.vendor
    package = vendor.package if vendor else job.framework.name
    return Outcome(
        samples=[],
        claims=vendor_claims(job),
        unproven=[f"{package} tells no samples, and figures without samples prove nothing"],
    )


def _of(results: Mapping[str, Any], *, group: bool) -> Iterator[MetricClaim]:
    for task, result in results.items():
        for metric, found in result["metrics"].items():
            for score, figure in found["scores"].items():
                yield MetricClaim(
                    task=task,
                    name=metric if metric == score else f"{metric}_{score}",
                    value=figure["value"],
                    stderr=figure["stats"].get("stderr"),
                    method="harness",
                    group=group,
                )
        yield from _of(result.get("groups") or {}, group=True)
