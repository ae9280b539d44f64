"""Bad input that only an engine can find out: exit code, what / where / next, within five seconds."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.bad_input import LIMIT_S, Row, assert_refused, typed
from tests.kit.cli import task_results

from evaldock.supply.lock import ImagesLock, LockedImage, write_lock
from evaldock.supply.paths import data_home
from evaldock.testkit.fake_endpoint import running_endpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]

ENDPOINT = "target: {api_endpoint: {url: '{URL}', model_id: fake-model, type: chat}}\n"
HUMANEVAL = "evaluation: {tasks: [{name: humaneval, params: {limit_samples: 1}}]}\n"
NOWHERE = "sha256:" + "0" * 64

OTHER_BYTES = Row(
    name="digest mismatch",
    document=ENDPOINT + HUMANEVAL,
    code=ExitCode.PIN,
    what="is not the one that images.lock pins",
    where="pinned: " + NOWHERE,
    next_step="evaldock build human-eval",
)
NO_BYTES = Row(
    name="image missing from engine and store",
    document=ENDPOINT + HUMANEVAL,
    code=ExitCode.PIN,
    what='the image store does not hold the image "human-eval"',
    where=NOWHERE,
    next_step="evaldock build human-eval",
)
TOO_FEW_GPUS = Row(
    name="too few GPUs",
    document="deployment: {type: llamacpp, model_path: eval.yaml}\nevaluation: {tasks: [arc_easy]}\n",
    argv=("run", "eval.yaml", "--gpus", "64"),
    code=ExitCode.EXECUTION,
    what="the server container does not start: could not select device driver",
    where="image evaldock/llamacpp",
    next_step="run with --gpus none",
)
NO_DATA = Row(
    name="missing data",
    document=ENDPOINT
    + "evaluation: {params: {extra: {num_fewshot: 0}}, tasks: [mmlu_pro]}\n"
    + "data: {path: .}\n",  # a folder without it
    what='the data of "mmlu_pro" is not in this image',
    where="",
    next_step="data.path",
)


@pytest.fixture(scope="module")
def names() -> Iterator[dict[str, str]]:
    with running_endpoint() as endpoint:
        yield {"URL": f"{endpoint.url}/v1"}


def env(home: Path, images: dict[str, LockedImage], **changed: str) -> dict[str, str]:
    """Return a home with our image store, and an images.lock in which human-eval has other hashes."""
    folder = home / "evaldock"
    folder.mkdir(parents=True)
    (folder / "images").symlink_to(data_home() / "images")
    lock = ImagesLock(images=images)
    write_lock(lock.replacing(images["human-eval"].model_copy(update=changed)), folder / "images.lock")
    return {"XDG_DATA_HOME": str(home), "DOCKER_HOST": os.environ["DOCKER_HOST"]}


def test_an_engine_that_holds_other_bytes_is_refused(
    tmp_path: Path, names: dict[str, str], images: dict[str, LockedImage]
) -> None:
    variables = env(tmp_path / "home", images, image_id=NOWHERE)
    assert_refused(OTHER_BYTES, *typed(OTHER_BYTES, tmp_path, names, variables))


def test_an_image_that_neither_engine_nor_store_has_is_refused(
    tmp_path: Path, names: dict[str, str], images: dict[str, LockedImage]
) -> None:
    variables = env(tmp_path / "home", images, image_id=NOWHERE, digest=NOWHERE)
    assert_refused(NO_BYTES, *typed(NO_BYTES, tmp_path, names, variables))


def test_more_gpus_than_there_are_are_refused(
    tmp_path: Path, names: dict[str, str], images: dict[str, LockedImage]
) -> None:
    assert_refused(TOO_FEW_GPUS, *typed(TOO_FEW_GPUS, tmp_path, names, env(tmp_path / "home", images)))


def test_a_task_whose_data_is_not_in_its_image_fails_by_name(
    tmp_path: Path, names: dict[str, str], images: dict[str, LockedImage]
) -> None:
    ended, seconds = typed(NO_DATA, tmp_path, names, env(tmp_path / "home", images))
    assert (ended.code, seconds < LIMIT_S) == (NO_DATA.code, True)
    assert NO_DATA.what in ended.err  # the other tasks of a run go on, so that it ends with its table
    error = task_results(tmp_path, "lm-eval.mmlu_pro")["error"]
    assert NO_DATA.what in error["message"]
    assert NO_DATA.next_step in error["next"]
