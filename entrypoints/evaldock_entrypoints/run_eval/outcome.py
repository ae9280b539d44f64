"""From a harness's native output to one outcome, also where the harness was started several times."""

import importlib.util
import math
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from evaldock_entrypoints.contract import statistics
from evaldock_entrypoints.contract.errors import EvaldockError, HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample
from evaldock_entrypoints.run_eval.job import Job, limited
from evaldock_entrypoints.run_eval.template import HARNESS_GUIDE
from evaldock_entrypoints.run_eval.vendor import results as vendor_results


def read_outcome(job: Job) -> Outcome:
    """Return what all starts of the harness left; raises HarnessError."""
    refuse_endless_files(job.output_dir / "native")
    if job.starts == 1:
        return parse(job)
    parts = [parse(replace(job, repeat=repeat)) for repeat in range(job.starts)]
    return merged(parts, primary_metric=job.task.primary_metric)


def parse(job: Job) -> Outcome:
    """Read the native output with the harness folder's results.py; raises HarnessError whatever it raises."""
    try:
        outcome = _load_results_module(job).parse(job)
    except EvaldockError:
        raise
    except Exception as error:
        raise HarnessError(
            f"the output of {job.framework.name} cannot be read: {type(error).__name__}: {error}",
            where=str(job.native_dir),
            next_step="the raw output is kept in native/ and logs/",
        ) from error
    if not isinstance(outcome, Outcome):
        raise HarnessError(
            f"results.py of {job.framework.name} returned no Outcome",
            where=str(job.harness_dir / "results.py"),
            next_step=HARNESS_GUIDE,
        )
    return outcome


def refuse_endless_files(folder: Path) -> None:
    """Raise HarnessError for a pipe or a device below the folder, or a link to one: reading may not end."""
    left = [folder]
    while left:
        with suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(Path(entry.path))
                elif _is_endless(Path(entry.path)):
                    raise HarnessError(
                        "the harness left a pipe or a device where its output is read",
                        where=entry.path,
                        next_step="look into logs/ for what made it",
                    )


def _is_endless(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:  # a link that leads nowhere
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def merged(parts: Sequence[Outcome], *, primary_metric: str | None) -> Outcome:
    """Return the outcome of all starts: each one's samples are a repeat, each one's claims are checked.

    A metric is claimed over all repeats, and for an answer that is right or wrong also as pass@k.
    """
    samples = [
        sample.model_copy(update={"repeat": repeat})
        for repeat, part in enumerate(parts)
        for sample in part.samples
    ]
    checks = [replace(claim, repeat=repeat) for repeat, part in enumerate(parts) for claim in part.claims]
    together = [_together(claim, parts) for claim in parts[0].claims]
    first = parts[0]
    return replace(
        first,
        samples=samples,
        claims=[*checks, *together, *_pass_at(together, samples, primary_metric, len(parts))],
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
        facts={name: value for name, value in first.facts.items() if _is_common(name, value, parts)},
    )


def _together(claim: MetricClaim, parts: Sequence[Outcome]) -> MetricClaim:
    """Return one claim over all starts: computed from the samples, or the mean of the harness's values."""
    if claim.method != "harness":
        return replace(claim, value=None, stderr=None)
    values = [
        other.value
        for part in parts
        for other in part.claims
        if (other.task, other.name, other.group) == (claim.task, claim.name, claim.group)
        and other.value is not None
    ]
    whole = len(values) == len(parts)
    return replace(
        claim,
        value=statistics.mean(values) if whole else None,
        stderr=statistics.standard_error(values) if whole else None,
    )


def _pass_at(
    claims: Sequence[MetricClaim], samples: Sequence[Sample], primary_metric: str | None, repeats: int
) -> Iterator[MetricClaim]:
    """Yield pass@k of the primary metric for k = 2, 4, 8, … and for all repeats, where it is 0 or 1."""
    for claim in claims:
        score = claim.score
        if claim.name != primary_metric or claim.method != "mean" or claim.group or score is None:
            continue
        found = {sample.scores[score] for sample in samples if score in sample.scores}
        if found <= {0.0, 1.0}:
            powers = [2**power for power in range(1, int(math.log2(repeats)) + 1)]
            for k in dict.fromkeys([*powers, repeats]):
                yield replace(claim, name=f"pass@{k}", method="pass@k", k=k)


def _is_common(name: str, value: object, parts: Sequence[Outcome]) -> bool:
    return all(part.facts.get(name) == value for part in parts)


def expected_samples(job: Job, outcome: Outcome) -> int:
    """Return how many samples prove the run: from the data manifest, else from the harness's own count.

    Raises HarnessError where neither says.
    """
    items = job.expected_items()
    if items is None:
        if not outcome.totals and not outcome.unproven:
            raise HarnessError(
                "neither the image nor the harness says how many items the task has",
                where=f"{job.framework.name}.{job.task.name}",
                next_step=HARNESS_GUIDE,
            )
        items = sum(limited(total, job.params["limit_samples"]) for total in outcome.totals)
    return items * int(job.params["repeats"])


def _load_results_module(job: Job) -> ModuleType:
    path = job.harness_dir / "results.py"
    if job.framework.vendor is not None and not path.is_file():
        return vendor_results
    spec = importlib.util.spec_from_file_location("evaldock_harness_results", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise HarnessError("the harness folder has no results.py", where=str(path), next_step=HARNESS_GUIDE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
