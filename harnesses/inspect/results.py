"""Reads Inspect's native output: one log, native/*.json."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.run_eval.job import Job

# Inspect's letters as numbers: https://inspect.aisi.org.uk/metrics.html
_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_CUT = frozenset({"max_tokens", "model_length"})
_MESSAGE_CHARACTERS = 300
_ATTACHMENT = re.compile(r"attachment://([0-9a-f]{32})")

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Judgements whose mean is the score: Inspect takes the mean of those that it could read."""

    size: int
    grade: re.Pattern[str]


_PANELS = {"writingbench": Panel(size=5, grade=re.compile(r'"score"\s*:\s*(10|[1-9])'))}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One sample of the log, with what the log keeps in one place for all of them."""

    record: Record
    target_model: str

    @property
    def calls(self) -> list[Record]:
        """What was asked of models, in order; all other events were left out on reading."""
        return [event for event in self.record["events"] if event]

    @property
    def answers(self) -> list[Record]:
        """Calls of the model under evaluation."""
        return [call for call in self.calls if call["model"] == self.target_model]

    @property
    def judgements(self) -> list[str]:
        """What the judge wrote."""
        return [
            self.text(call["output"]["completion"])
            for call in self.calls
            if call["model"] != self.target_model
        ]

    def text(self, text: str) -> str:
        """Return a text with what Inspect keeps of it among the attachments."""
        return _ATTACHMENT.sub(lambda found: str(self.record["attachments"][found[1]]), text)


def parse(job: Job) -> Outcome:
    """Return samples and claims; raises HarnessError where this start left no log of success."""
    log = _read(_find(job), job)
    about = log["eval"]
    scored: list[Record] = (log.get("results") or {}).get("scores", [])  # none where every sample failed
    items = [Item(record=record, target_model=about["model"]) for record in log["samples"] or []]
    groups = sorted({key for _, key in _groups(scored)})
    return Outcome(
        samples=[_sample(job, item, groups) for item in items],
        claims=[*_claims(job, scored)],
        totals=[about["dataset"]["samples"]],
        harness_version=about["packages"]["inspect_ai"],
        num_fewshot=about["task_args"].get("fewshot", job.task.default_fewshot),
        notes=[*_notes(job, about)],
        facts={
            "inspect_evals": about["packages"].get("inspect_evals"),
            "task_version": str(about["task_version"]),
            "judge": job.auxiliary["judge"].endpoint.model_id if "judge" in job.auxiliary else None,
        },
    )


def _find(job: Job) -> Path:
    found = [*job.native_dir.glob("*.json")]
    if len(found) != 1:
        raise HarnessError(
            f"Inspect left {len(found)} logs, expected one",
            where=str(job.native_dir),
            next_step=f"read {job.logs_dir}/evaluate.log",
        )
    return found[0]


def _read(path: Path, job: Job) -> Record:
    """Return a log of success; Inspect writes one of an error too, and exits with 0 all the same."""
    try:
        log: Record = json.loads(path.read_text(encoding="utf-8"), object_hook=_without_bulk)
        status = log["status"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise HarnessError(
            f"Inspect's log is cut short or of another form: {type(error).__name__}: {error}",
            where=str(path),
            next_step="run again; a full disk or a killed process leaves such a file",
        ) from error
    if status != "success":
        message = (log.get("error") or {}).get("message", "no reason is given")
        raise HarnessError(
            f'Inspect\'s log has the status "{status}": {_first_line(message)}',
            where=str(path),
            next_step=f"read {job.logs_dir}/evaluate.log",
        )
    return log


def _without_bulk(record: Record) -> Record:
    """Return a part of the log, an empty one in place of events that are no call of a model (most of it)."""
    return {} if record.get("event", "model") != "model" else record


def _sample(job: Job, item: Item, groups: list[str]) -> Sample:
    record = item.record
    error = _error(job, item)
    (name, score), *others = [*(record.get("scores") or {}).items()] or [("", {})]
    if others:
        raise HarnessError(f"sample {record['id']} has {1 + len(others)} scores", where=str(job.native_dir))
    value = _number(score.get("value"))
    if error is None and not math.isfinite(value):
        error = SampleError(kind="harness", message=_unscored(score))
    scores = {} if error else {name: value} | {f"{key}={record['metadata'][key]}": value for key in groups}
    usage = (record.get("model_usage") or {}).get(item.target_model, {})
    return Sample(
        id=str(record["id"]),
        repeat=record["epoch"] - 1,
        prompt_hash=_prompt_hash(record["messages"]),
        response=record["output"]["completion"] if item.answers and not error else None,
        extracted_answer=score.get("answer") if not job.task.auxiliary else str(score.get("value")),
        target=_joined(record["target"]),
        scores=scores,
        correct=None if error or job.task.primary_metric != "accuracy" else value == 1.0,
        finish_reason=_finish_reason(record["output"]),
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        latency_ms=_latency_ms(item),
        error=error,
    )


def _error(job: Job, item: Item) -> SampleError | None:
    """Return why the sample has no score of its own, also where Inspect gave it one."""
    failed = [call for call in item.calls if call.get("error") or (call.get("call") or {}).get("error")]
    if failed:
        # Inspect takes some error messages (context too long, filtered) for the model's answer.
        message = failed[-1].get("error") or json.dumps(failed[-1]["call"].get("response"))
        return SampleError(kind="endpoint", message=_first_line(item.text(message)))
    if item.record.get("error"):
        return SampleError(kind="harness", message=_first_line(item.record["error"]["message"]))
    if item.record.get("limit"):
        return SampleError(kind="harness", message=f"stopped by a limit: {item.record['limit']}")
    panel = _PANELS.get(job.task.native_name)
    grades = [grade for grade in map(panel.grade.search, item.judgements) if grade] if panel else []
    if panel and len(grades) != panel.size:
        return SampleError(kind="model", message=f"the judge gave {len(grades)} of {panel.size} grades")
    return None


def _number(value: Any) -> float:
    """Return a score as a number, NaN where there is none."""
    if isinstance(value, str):
        return _GRADES.get(value, math.nan)
    return math.nan if value is None else float(value)


def _unscored(score: Record) -> str:
    return _first_line(score.get("explanation") or "Inspect gave no score")


def _first_line(text: str) -> str:
    return " ".join(text.split())[:_MESSAGE_CHARACTERS]


def _prompt_hash(messages: list[Record]) -> str:
    """SHA-256 of the messages before the model's first answer, as canonical JSON of role and content."""
    prompt = []
    for message in messages:
        if message.get("source") == "generate":
            break
        prompt.append({"role": message["role"], "content": message["content"]})
    return hashlib.sha256(json.dumps(prompt, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _joined(target: str | list[str]) -> str | None:
    return (target if isinstance(target, str) else ", ".join(target)) or None


def _finish_reason(output: Record) -> str | None:
    reason = output["choices"][0]["stop_reason"] if output.get("choices") else None
    return "length" if reason in _CUT else reason


def _latency_ms(item: Item) -> float | None:
    times = [call["output"].get("time") for call in item.answers]
    return None if not times or None in times else 1000 * sum(times)


def _groups(scored: list[Record]) -> Iterator[tuple[str, str]]:
    """Yield the name and the metadata key of each metric that is of a group of samples."""
    for scorer in scored:
        for name, metric in scorer["metrics"].items():
            key = metric["params"].get("group_key")
            if key is not None and name != metric["params"].get("all_label"):
                yield name, key


def _claims(job: Job, scored: list[Record]) -> Iterator[MetricClaim]:
    groups = dict(_groups(scored))
    for scorer in scored:
        metrics: Mapping[str, Record] = scorer["metrics"]
        for name, metric in metrics.items():
            if name == "stderr" or ("group_key" in metric["params"] and name not in groups):
                continue
            key = f"{groups[name]}={name}" if name in groups else None
            yield MetricClaim(
                task=job.task.name,
                name=key or name,
                value=metric["value"],
                stderr=metrics["stderr"]["value"] if "stderr" in metrics else None,
                score=key or scorer["name"],
            )


def _notes(job: Job, about: Record) -> Iterator[str]:
    limit, total = job.params.get("limit_samples"), about["dataset"]["samples"]
    if limit is not None:
        sampling = job.extras["sampling"]
        which = f"a random sample by seed {job.params['seed']}" if sampling == "seeded" else "the first ones"
        yield f"limit_samples {limit}: {which} of {total} items"
