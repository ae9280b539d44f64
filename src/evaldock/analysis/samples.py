"""Chooses the samples that a report shows."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from evaldock.untrusted_files import AbsentFileError, UnreadableFileError, iterate_zst_lines
from evaldock_entrypoints.contract.results import Sample

SAMPLES_FILE = "samples.jsonl.zst"
SHOWN = 50
_MAX_ERRORED = 10

Verdict = Literal["errored", "wrong", "right", "scored"]  # scored: the harness gives no verdict, only scores
_VERDICTS: tuple[Verdict, ...] = ("errored", "wrong", "right", "scored")


@dataclass(frozen=True, kw_only=True)
class SampleGroup:
    """The first samples of one verdict, out of `total`."""

    verdict: Verdict
    total: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is shown of a task's samples; problems say what could not be read."""

    groups: tuple[SampleGroup, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(group.total for group in self.groups)

    @property
    def shown(self) -> int:
        return sum(len(group.samples) for group in self.groups)


def select_samples(task_folder: Path) -> Selection:
    """Return up to 50 samples: at most 10 that failed, then wrong and right ones, half and half."""
    totals: dict[Verdict, int] = defaultdict(int)
    first: dict[Verdict, list[Sample]] = defaultdict(list)
    unreadable, problems = 0, []
    try:
        for line in iterate_zst_lines(task_folder / SAMPLES_FILE):
            sample = _sample(line)
            if sample is None:
                unreadable += 1
                continue
            verdict = _verdict(sample)
            totals[verdict] += 1
            if len(first[verdict]) < SHOWN:
                first[verdict].append(sample)
    except AbsentFileError:
        return Selection()
    except UnreadableFileError as error:
        problems.append(str(error))
    if unreadable:
        problems.append(f"{unreadable} lines of {SAMPLES_FILE} hold no sample and were left out")
    return Selection(groups=_shared_out(totals, first), problems=tuple(problems))


def _sample(line: bytes) -> Sample | None:
    try:
        tree = json.loads(line)
        # A score that is not a number was written as null.
        tree["scores"] = {name: score for name, score in tree["scores"].items() if score is not None}
        return Sample.model_validate(tree)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError):
        return None


def _verdict(sample: Sample) -> Verdict:
    if sample.error is not None:
        return "errored"
    if sample.correct is None:
        return "scored"
    return "right" if sample.correct else "wrong"


def _shared_out(totals: dict[Verdict, int], first: dict[Verdict, list[Sample]]) -> tuple[SampleGroup, ...]:
    shares = _shares({verdict: len(first[verdict]) for verdict in _VERDICTS})
    return tuple(
        SampleGroup(verdict=verdict, total=totals[verdict], samples=tuple(first[verdict][: shares[verdict]]))
        for verdict in _VERDICTS
        if totals[verdict]
    )


def _shares(present: dict[Verdict, int]) -> dict[Verdict, int]:
    """Return how many of each verdict to show; what one side leaves free, the other takes."""
    errored = min(present["errored"], _MAX_ERRORED)
    not_wrong = min(present["right"] + present["scored"], SHOWN)
    wrong = min(present["wrong"], max(SHOWN // 2 - errored, SHOWN - errored - not_wrong))
    right = min(present["right"], SHOWN - errored - wrong)
    return {
        "errored": errored,
        "wrong": wrong,
        "right": right,
        "scored": min(present["scored"], SHOWN - errored - wrong - right),
    }
