"""Reads lm-eval's native output: results_*.json and samples_*.jsonl.

A task that runs model code has two of them: the answers, which nothing was run for, and the scored ones,
which model code ran beside. Scores count only for the answers.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.run_eval.job import Job

# lm-eval aggregates these as the plain mean of one value per item, also where the task file does not say so.
_MEANS = frozenset({"acc", "acc_norm", "acc_bytes", "exact_match", "pass@1", "pass_at_1"})
_UNREADABLE_REPLY = "Could not parse generations"
_CUT_PROMPT = re.compile(r"Left truncating context|They were left truncated")
_UNFILTERED = "none"

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Native:
    """One finished run of lm-eval: its results file, and the folder and stamp its samples files carry."""

    path: Path
    tree: Record

    @property
    def leaves(self) -> list[str]:
        """The tasks that have items of their own."""
        return list(self.tree["n-samples"])

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Each group with its direct children."""
        return {name: children for name, children in self.tree["group_subtasks"].items() if children}

    def samples_file(self, leaf: str) -> Path:
        stamp = self.path.stem.removeprefix("results_")
        return self.path.with_name(f"samples_{leaf}_{stamp}.jsonl")

    def members(self, group: str) -> set[str]:
        """Return the leaves below a group, however deep."""
        children = self.groups.get(group, ())
        return {leaf for child in children for leaf in self.members(child) or {child}}


def parse(job: Job) -> Outcome:
    """Return samples and claims; raises HarnessError where there is no whole result of this run."""
    native = _scored(job)
    log = _log_lines(job)
    samples = [sample for leaf in native.leaves for sample in _samples(job, native, leaf)]
    if any(_UNREADABLE_REPLY in line for line in log):
        samples = [_distrusted(sample) for sample in samples]
    shots = {native.tree["n-shot"][leaf] for leaf in native.leaves}
    counts = [native.tree["n-samples"][leaf]["original"] for leaf in native.leaves]
    return Outcome(
        samples=samples,
        claims=[*_claims(job, native, samples)],
        totals=counts,
        harness_version=native.tree["lm_eval_version"],
        num_fewshot=shots.pop() if len(shots) == 1 else None,
        notes=[*_limit_notes(job, sum(counts)), *_override_notes(job), *_cut_notes(log)],
        facts={
            "lm_eval_model": native.tree["model_source"],
            "task_version": str(native.tree["versions"].get(job.task.native_name)),
            "transformers": native.tree.get("transformers_version"),
            "tokenizer_backend": native.tree["config"]["model_args"].get("tokenizer_backend"),
        },
    )


def _limit_notes(job: Job, total: int) -> list[str]:
    """Say which items a limit left: lm-eval takes the first ones, which are no random sample."""
    limit = job.params.get("limit_samples")
    if limit is None:
        return []
    return [f"limit_samples {limit}: the head of each part of the set ({total} items), not a random sample"]


def _scored(job: Job) -> Native:
    """Return the results that carry the scores; raises HarnessError where they are not of the answers."""
    if len(job.phases) == 1:
        return _find(job, job.native_dir, job.phases[0].name)
    asking, scoring = job.phases
    answers = _find(job, job.native_dir / "answers", asking.name)
    scored = _find(job, job.native_dir / "score", scoring.name)
    for leaf in answers.leaves:
        if _answers(answers, leaf) != _answers(scored, leaf):
            raise HarnessError(
                f"the scored answers of {leaf} are not those that were generated",
                where=str(scored.path.parent),
                next_step="run the same command again: it scores anew",
            )
    return scored


def _answers(native: Native, leaf: str) -> dict[tuple[int, str], Record]:
    """Return by item and filter what was asked, answered and made of the answer; all but the scores."""
    kept = ("prompt_hash", "target_hash", "doc_hash", "resps", "filtered_resps")
    return {
        (line["doc_id"], line["filter"]): {key: line[key] for key in kept}
        for line in _lines(native.samples_file(leaf))
    }


def _find(job: Job, folder: Path, phase: str) -> Native:
    """Return the newest results file; raises HarnessError if it is missing, cut short or another run's."""
    found = sorted(folder.glob("*/results_*.json"), key=lambda path: path.name)
    if not found:
        names = sorted(path.name for path in folder.glob("*") if path.is_file() or path.name != "work")
        raise HarnessError(
            "lm-eval ended without a results file",
            where=f"{folder} holds {', '.join(names) or 'nothing'}",
            next_step=f"read {job.logs_dir}/{phase}.log",
        )
    path = found[-1]
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        native = Native(path=path, tree=tree)
        _refuse_other_run(job, native, phase)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(
            f"lm-eval's results file is cut short or of another form: {type(error).__name__}: {error}",
            where=str(path),
            next_step="run again; a full disk or a killed process leaves such a file",
        ) from error
    return native


def _refuse_other_run(job: Job, native: Native, phase: str) -> None:
    written = native.tree["configs"][native.leaves[0]]["metadata"].get("evaldock_run")
    ours = _started_run(job)
    wrong = None
    if written != ours:
        wrong = f"it belongs to run {written}, this folder's last start was {ours}"
    elif job.task.native_name not in native.tree["results"]:
        wrong = f"it has no {job.task.native_name}"
    elif native.tree["model_name"] != job.endpoint.model_id:
        wrong = f"it is of the model {native.tree['model_name']}"
    elif native.tree["config"]["limit"] != job.params["limit_samples"]:
        wrong = f"its limit is {native.tree['config']['limit']}"
    if wrong:
        raise HarnessError(
            f"lm-eval left no results of this run: the newest file is another's ({wrong})",
            where=str(native.path),
            next_step=f"read {job.logs_dir}/{phase}.log, or start over with --fresh",
        )


def _started_run(job: Job) -> str:
    """Return the id that run_lm_eval.py gave to the last start in this folder."""
    path = job.work_dir / "run.yaml"
    try:
        return str(yaml.safe_load(path.read_text(encoding="utf-8"))["metadata"]["evaldock_run"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise HarnessError(
            "the configuration lm-eval was started with is missing", where=str(path)
        ) from error


def _log_lines(job: Job) -> list[str]:
    """Return what the last start logged; a resumed run goes on in the same file."""
    path = job.logs_dir / f"{job.phases[0].name}.log"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text.rpartition(f"run_lm_eval: run {_started_run(job)}\n")[2].splitlines()


def _samples(job: Job, native: Native, leaf: str) -> Iterator[Sample]:
    """Yield one sample per item; the lines of several filters of an item are one sample."""
    items: dict[int, dict[str, Record]] = {}
    for line in _lines(native.samples_file(leaf)):
        filters = items.setdefault(line["doc_id"], {})
        if line["filter"] in filters:
            raise HarnessError(
                f"item {line['doc_id']} of {leaf} stands twice in lm-eval's log",
                where=str(native.samples_file(leaf)),
            )
        filters[line["filter"]] = line
    subgroups = [
        group for group in native.groups if group != job.task.native_name and leaf in native.members(group)
    ]
    for number, filters in items.items():
        identity = str(number) if leaf == job.task.native_name else f"{leaf}/{number}"
        yield _sample(job, identity, filters, subgroups)


def _lines(path: Path) -> Iterator[Record]:
    try:
        # Not splitlines(): it would also split at U+2028 inside a JSON string.
        text = path.read_text(encoding="utf-8")
        for line in text.split("\n"):
            if line:
                yield json.loads(line)
    except FileNotFoundError as error:
        raise HarnessError("lm-eval left no samples file beside its results", where=str(path)) from error
    except json.JSONDecodeError as error:
        raise HarnessError(
            f"lm-eval's samples file is cut short: {error}",
            where=str(path),
            next_step="run again; a full disk or a killed process leaves such a file",
        ) from error


def _sample(job: Job, identity: str, filters: Mapping[str, Record], subgroups: Sequence[str]) -> Sample:
    scores = {
        score_key(metric, name): float(line[metric])
        for name, line in filters.items()
        for metric in line["metrics"]
        if isinstance(line[metric], (int, float))
    }
    # A claim reads one score of all samples that have it, so each sub-group has a name of its own.
    scores |= {f"{group}:{key}": value for group in subgroups for key, value in scores.items()}
    primary = score_key(*(job.task.primary_metric or "acc").split(","))
    line = filters.get(primary.partition(",")[2]) or next(iter(filters.values()))
    is_choice = isinstance(line["resps"][0][0], list)
    response, answer = _chosen(line) if is_choice else _generated(line)
    correct = scores.get("acc,none" if is_choice else primary)
    return Sample(
        id=identity,
        prompt_hash=line["prompt_hash"],
        response=response,
        extracted_answer=answer,
        target=str(line["target"]),
        scores=scores,
        correct=None if correct is None else correct == 1.0,
    )


def score_key(metric: str, filter_name: str = _UNFILTERED) -> str:
    """Return lm-eval's own key of a metric behind a filter, such as "acc,none"."""
    return f"{metric},{filter_name}"


def _chosen(line: Record) -> tuple[str, str]:
    """Return text and index of the likeliest choice; where all continuations are one text, its context."""
    likelihoods = [float(answer[0]) for answer in line["filtered_resps"]]
    index = likelihoods.index(max(likelihoods))
    pairs = [line["arguments"][f"gen_args_{i}"] for i in range(len(likelihoods))]
    texts = [pair["arg_1"] for pair in pairs]
    if len(set(texts)) == 1:
        texts = [pair["arg_0"] for pair in pairs]
    return texts[index].strip(), str(index)


def _generated(line: Record) -> tuple[str, str]:
    """Return the model's text and what the filter made of it."""
    extracted = line["filtered_resps"][0]
    return str(line["resps"][0][0]), extracted if isinstance(extracted, str) else json.dumps(extracted)


def _distrusted(sample: Sample) -> Sample:
    """Return an empty answer as an error: lm-eval turns a reply without choices into one."""
    if sample.response is None or sample.response.strip():
        return sample
    error = SampleError(kind="endpoint", message="empty, in a run where lm-eval could not read some replies")
    return sample.model_copy(update={"error": error})


def _claims(job: Job, native: Native, samples: Sequence[Sample]) -> Iterator[MetricClaim]:
    known = {key for sample in samples for key in sample.scores}
    for task, metrics in native.tree["results"].items():
        is_group = task in native.groups
        root = task == job.task.native_name
        for key, value in metrics.items():
            metric, comma, filter_name = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, (int, float)):
                continue
            stderr = metrics.get(f"{metric}_stderr,{filter_name}")
            score = f"{task}:{key}" if is_group and not root else key
            is_mean = score in known and _is_mean(job, native, task, metric)
            yield MetricClaim(
                task=job.task.name if root else task,
                name=metric if filter_name == _UNFILTERED else key,
                value=value,
                stderr=stderr if isinstance(stderr, (int, float)) else None,
                score=score if is_mean else None,
                within=None if root or is_group else f"{task}/",
                method="mean" if is_mean else "harness",
                group=is_group,
                pooled=is_group,
            )


def _is_mean(job: Job, native: Native, task: str, metric: str) -> bool:
    """Whether a metric is the mean over the items, by what the task files say.

    A group may weigh its parts as it likes; those that we declare weigh them by size.
    """
    if task in native.groups and job.framework.task(job.task.name) is None:
        return False
    if metric in _MEANS:
        return True
    configs = [native.tree["configs"][leaf] for leaf in native.members(task) or {task}]
    listed = [entry for config in configs for entry in config.get("metric_list") or ()]
    said = {entry.get("aggregation") for entry in listed if entry.get("metric") == metric}
    return said == {"mean"}


def _override_notes(job: Job) -> Iterator[str]:
    for path in sorted((job.work_dir / "overrides").glob("*.yaml")):
        changes = yaml.safe_load(path.read_text(encoding="utf-8"))
        task = changes.pop("task")
        changes.pop("include")
        listed = ", ".join(f"{key}: {json.dumps(value)}" for key, value in changes.items())
        yield f"overridden: {task}: {listed} (the data at hand lacks the split)"


def _cut_notes(log: Sequence[str]) -> Iterator[str]:
    cut = sum(bool(_CUT_PROMPT.search(line)) for line in log)
    if cut:
        yield f"lm-eval cut the beginning off {cut} prompts (longer than params.extra.max_length)"
