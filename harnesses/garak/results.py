"""Read garak's report into samples and claims: 1.0 means that the model resisted."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError, Scalar
from evaldock_entrypoints.run_eval.job import Job

COMPLETE = 2  # an attempt's status once detectors have seen it; each one stands in the report before, too

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run of garak left."""

    selection: Row
    counts: dict[str, Row]  # by probe
    errors: dict[str, str]  # message by prompt hash
    attempts: list[Row]
    evals: list[Row]
    declared: dict[str, list[str]]  # detectors by probe, the primary one first

    def skipped(self, probe: str) -> list[str]:
        """Return the detectors that the probe names and garak left out: those that do not load."""
        used = {row["detector"] for row in self.evals if row["probe"] == probe}
        return [name for name in self.declared.get(probe, []) if name not in used]


def parse(job: Job) -> Outcome:
    """Return one sample per (probe, prompt, repeat); raises HarnessError where garak did not finish."""
    native = job.native_dir
    try:
        report = _read(native)
    except (OSError, ValueError, LookupError) as error:
        raise _unfinished(native, f"{type(error).__name__}: {error}") from error
    left_out = [name for name in report.selection["probes"] if name not in report.counts]
    if left_out:
        raise _unfinished(native, f"probe {left_out[0]} is not in it")
    return Outcome(
        samples=[sample for attempt in report.attempts for sample in _samples(report, attempt)],
        claims=list(_claims(job.task.name, report.evals)),
        totals=[count["total"] for count in report.counts.values()],
        harness_version=report.selection["version"],
        num_fewshot=0,
        notes=[*_limit_notes(job, report), *_skip_notes(report)],
        facts=_facts(report),
    )


def _read(native: Path) -> Report:
    selection = json.loads((native / "selection.json").read_text(encoding="utf-8"))
    rows = list(_lines(native / "garak.report.jsonl"))
    if not any(row["entry_type"] == "completion" for row in rows):
        raise ValueError("the report has no completion entry")
    failed = native / "errors.jsonl"
    caches = [row["plugin_cache"] for row in rows if row["entry_type"] == "plugin_cache"]
    return Report(
        selection=selection,
        counts={row["probe"]: row for row in _lines(native / "counts.jsonl")},
        errors={row["prompt_hash"]: row["message"] for row in _lines(failed)} if failed.exists() else {},
        attempts=[row for row in rows if row["entry_type"] == "attempt" and row["status"] == COMPLETE],
        evals=[row for row in rows if row["entry_type"] == "eval"],
        declared=dict(pair for cache in caches for pair in _declared(cache.get("probes", {}))),
    )


def _declared(probes: Mapping[str, Row]) -> Iterator[tuple[str, list[str]]]:
    for name, about in probes.items():
        named = (about["primary_detector"], *about["extended_detectors"])
        yield name.removeprefix("probes."), [detector for detector in named if detector]


def _samples(report: Report, attempt: Row) -> Iterator[Sample]:
    """Yield the repeats of one prompt."""
    probe, skipped = attempt["probe_classname"], report.skipped(attempt["probe_classname"])
    turns = [[turn["role"], turn["content"]["text"]] for turn in attempt["prompt"]["turns"]]
    prompt_hash = hashlib.sha256(json.dumps(turns).encode()).hexdigest()
    for repeat, output in enumerate(attempt["outputs"]):
        identity: Row = {"id": f"{probe}/{attempt['seq']}", "repeat": repeat, "prompt_hash": prompt_hash}
        verdicts = {name: scores[repeat] for name, scores in attempt["detector_results"].items()}
        error = _error(report, prompt_hash, output, verdicts, skipped[:1] == report.declared[probe][:1])
        if error is not None:
            yield Sample(**identity, error=error)
            continue
        scores = {name: float(score < report.selection["threshold"]) for name, score in verdicts.items()}
        resisted = float(all(scores.values()))
        yield Sample(
            **identity,
            response=output["text"],
            scores={**scores, "resisted": resisted},
            correct=resisted == 1.0,
        )


def _error(
    report: Report,
    prompt_hash: str,
    output: Row | None,
    verdicts: Mapping[str, float | None],
    no_primary: bool,
) -> SampleError | None:
    """Return why an answer has no verdict, None if it has one of every detector that ran."""
    if output is None:
        return SampleError(kind="endpoint", message=report.errors.get(prompt_hash, "no answer"))
    if output["text"] is None:
        return SampleError(kind="model", message="an answer without text, which garak does not judge")
    if no_primary:
        return SampleError(kind="harness", message="garak skipped the probe's primary detector")
    silent = [name for name, score in verdicts.items() if score is None]
    if silent or not verdicts:
        return SampleError(kind="harness", message=f"no verdict of {', '.join(silent) or 'any detector'}")
    return None


def _claims(task: str, evals: Sequence[Row]) -> Iterator[MetricClaim]:
    """Yield the share that no detector hit, and of each probe what garak counted by detector."""
    yield MetricClaim(task=task, name="resisted", value=None, score="resisted", group=True)
    for row in evals:
        total = row["total_evaluated"]
        yield MetricClaim(
            task=row["probe"],
            name=row["detector"],
            value=row["passed"] / total if total else None,
            score=row["detector"],
            within=f"{row['probe']}/",
        )


def _limit_notes(job: Job, report: Report) -> list[str]:
    limited = {name: row for name, row in report.counts.items() if row["asked"] < row["total"]}
    if not limited:
        return []
    how = "sampled" if job.extras["sampling"] == "seeded" else "asked the first"
    seed = f" with seed {job.params.get('seed')}" if how == "sampled" else ""
    asked = sum(row["asked"] for row in limited.values())
    total = sum(row["total"] for row in limited.values())
    return [
        f"{how} {asked} of {total} prompts{seed} (probes with more prompts than the limit: {len(limited)})"
    ]


def _skip_notes(report: Report) -> list[str]:
    return [
        f"{probe}: garak skipped the detector {name}, which does not load here"
        for probe in report.selection["probes"]
        for name in report.skipped(probe)
    ]


def _facts(report: Report) -> dict[str, Scalar]:
    """Return what detectors did not run, and garak's own intervals of how often an attack succeeded."""
    skipped = {name for probe in report.selection["probes"] for name in report.skipped(probe)}
    facts: dict[str, Scalar] = {"skipped_detectors": ", ".join(sorted(skipped)) or None}
    for row in report.evals:
        if "confidence_lower" in row:
            name = f"attack_success_interval {row['probe']} {row['detector']}"
            facts[name] = f"{row['confidence_lower']:.4f} to {row['confidence_upper']:.4f}"
    return facts


def _lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _unfinished(native: Path, reason: str) -> HarnessError:
    return HarnessError(
        f"garak left no finished report, whatever its exit status says: {reason}",
        where=str(native / "garak.report.jsonl"),
        next_step="the phase's log says why, such as a detector that does not load; the same command resumes",
    )
