"""Parity: lm-eval run natively, without any code of ours, prints the same metrics to the last digit.

`make parity` compares every declared task that the image has the data of, or those of TASKS=a,b, in a table.
"""

import io
import os
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import lm_eval_answers
from tests.kit import lm_eval_native
from tests.kit.cli import only_run, run_document, task_results

from evaldock.supply.lock import LockedImage
from evaldock.supply.paths import checkout_root
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.framework import Task, load_framework

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(7200)]

WANTED = os.environ.get("EVALDOCK_PARITY", "")  # all, or names of tasks; unset: the sample below
LIMIT, MAX_TOKENS = 10, 256
TABLES = ("gsm8k", "humaneval", "mbpp", "mbpp_instruct", "minerva_math500")
SAMPLE = {
    "arc_easy": "completions_logprob",
    "hellaswag": "completions_logprob",
    "sciq": "completions_logprob",
    "commonsense_qa": "completions_logprob",
    "lambada_openai": "completions_logprob",
    "gsm8k": "chat",
    "gsm8k_cot": "chat",
    "ifeval": "chat",
    "minerva_math500": "chat",
    "mbpp": "completions",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A task, the way it is asked, and the shots where its own number cannot be had."""

    task: Task
    endpoint_type: str
    num_fewshot: int | None

    @property
    def way(self) -> tuple[str, int]:
        return self.endpoint_type, -1 if self.num_fewshot is None else self.num_fewshot

    def __str__(self) -> str:
        return f"{self.task.name}-{self.endpoint_type}"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What both sides printed, metric → (value, standard error), and logged of every item."""

    asked: Asked
    ours: dict[str, tuple[float, float | None]]
    theirs: dict[str, tuple[float, float | None]]
    our_samples: dict[str, Any]
    their_samples: dict[str, Any]


def declared() -> list[Asked]:
    tasks = load_framework(checkout_root() / "harnesses" / "lm-eval").tasks
    return [
        Asked(
            task=task,
            endpoint_type=endpoint_type,
            num_fewshot=0 if task.default_fewshot and not task.fewshot_available else None,
        )
        for task in tasks
        for endpoint_type in task.endpoint_types
        if all(source.in_image for source in task.data)
        if _is_wanted(task.name, endpoint_type)
    ]


def _is_wanted(name: str, endpoint_type: str) -> bool:
    return WANTED == "all" or name in WANTED.split(",") if WANTED else SAMPLE.get(name) == endpoint_type


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lm_eval_native.install(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def data(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The image's data, copied out of it, with a stand-in for each split that it lacks."""
    folder = tmp_path_factory.mktemp("data")
    container = client.containers.create(images["lm-eval"].image_id, ["true"])
    try:
        stream, _ = container.get_archive("/opt/data")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            archive.extractall(folder, filter="data")
    finally:
        container.remove()
    lm_eval_native.stand_in(folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def compared(
    client: docker.DockerClient,
    images: dict[str, LockedImage],
    program: Path,
    data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Compared]]:
    """Both sides of all tasks, asked of one endpoint; where no table has the answer, it makes one up."""
    folder = tmp_path_factory.mktemp("answers")
    tables = [lm_eval_answers(client, images["lm-eval"], name, LIMIT, folder) for name in TABLES]
    found: dict[str, Compared] = {}
    with running_endpoint(answers=tables, share=0.6) as endpoint:
        for way, group in groupby(sorted(declared(), key=lambda one: one.way), key=lambda one: one.way):
            asked, cwd = list(group), tmp_path_factory.mktemp("ours")
            theirs = lm_eval_native.run(
                program,
                data,
                [one.task.native_name for one in asked],
                url=endpoint.url,
                endpoint_type=way[0],
                num_fewshot=asked[0].num_fewshot,
                limit=LIMIT,
                max_gen_toks=MAX_TOKENS,
                out=tmp_path_factory.mktemp("theirs"),
            )
            ended = run_document(document(endpoint, asked), cwd)
            assert ended.code == 0, ended.err
            found |= {str(one): compare(one, cwd, theirs) for one in asked}
    yield found
    if WANTED:
        sys.stdout.write(table(list(found.values())))


def document(endpoint: RunningEndpoint, asked: list[Asked]) -> dict[str, Any]:
    target = {"url": f"{endpoint.url}/v1", "model_id": "fake-model", "type": asked[0].endpoint_type}
    extra = {} if asked[0].num_fewshot is None else {"num_fewshot": asked[0].num_fewshot}
    params = {"limit_samples": LIMIT, "max_new_tokens": MAX_TOKENS, "extra": extra}
    tasks = [f"lm-eval.{one.task.name}" for one in asked]
    return {"target": {"api_endpoint": target}, "evaluation": {"params": params, "tasks": tasks}}


def compare(asked: Asked, cwd: Path, theirs: lm_eval_native.NativeRun) -> Compared:
    results = task_results(cwd, f"lm-eval.{asked.task.name}")
    native = only_run(cwd) / f"lm-eval.{asked.task.name}" / "native"
    ours = next(
        folder for folder in (native / "score" / "fake-model", native / "fake-model") if folder.is_dir()
    )
    names = lm_eval_native.leaves(ours)
    parts = {asked.task.native_name, *names}
    return Compared(
        asked=asked,
        ours=our_metrics(results, parts),
        theirs=their_metrics(theirs.results, parts),
        our_samples={name: lm_eval_native.samples(ours, name) for name in names},
        their_samples={name: lm_eval_native.samples(theirs.folder, name) for name in names},
    )


def our_metrics(results: dict[str, Any], parts: set[str]) -> dict[str, tuple[float, float | None]]:
    reported = {**results["results"]["tasks"], **results["results"]["groups"]}
    return {
        f"{part} {name}": (metric["scores"][name]["value"], metric["scores"][name]["stderr"])
        for part in parts
        for name, metric in reported[part]["metrics"].items()
    }


def their_metrics(results: dict[str, Any], parts: set[str]) -> dict[str, tuple[float, float | None]]:
    """Return every metric that lm-eval printed; a standard error that it has none of is text there."""
    found = {}
    for part in parts:
        for key, value in results[part].items():
            metric, _, filter_name = key.partition(",")
            if not filter_name or metric.endswith("_stderr") or not isinstance(value, float | int):
                continue
            stderr = results[part].get(f"{metric}_stderr,{filter_name}")
            name = f"{part} {key.removesuffix(',none')}"
            found[name] = (value, stderr if isinstance(stderr, float | int) else None)
    return found


def table(rows: list[Compared]) -> str:
    """Return a line per metric of a whole task."""
    lines = ["", f"{'task':<34}{'asked by':<22}{'metric':<34}{'evaldock':<24}{'plain lm-eval':<24}"]
    for row in rows:
        for name, (value, _) in sorted(row.ours.items()):
            part, _, metric = name.partition(" ")
            if part == row.asked.task.name:
                theirs = row.theirs[name][0]
                same = "=" if value == theirs else "DIFFERS"
                lines.append(
                    f"{part:<34}{row.asked.endpoint_type:<22}{metric:<34}{value:<24}{theirs:<24}{same}"
                )
    return "\n".join([*lines, f"{len(rows)} tasks, {LIMIT} items of each part", ""])


@pytest.mark.parametrize("name", [str(one) for one in declared()])
def test_what_was_asked_answered_and_scored_agrees_to_the_last_digit(
    compared: dict[str, Compared], name: str
) -> None:
    found = compared[name]
    assert found.our_samples == found.their_samples
    assert set(found.ours) == set(found.theirs)
    for metric, (value, stderr) in found.theirs.items():
        ours = found.ours[metric]
        assert ours[0] == value, metric
        assert (ours[1] is None) == (stderr is None), metric
        assert stderr is None or ours[1] == pytest.approx(stderr, rel=1e-12), metric
