"""`evaldock conformance` on images that keep the contract, and on one that breaks it in known ways."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kit.begun import NAME, REPOSITORY, Begun
from tests.kit.cli import Ended, evaldock
from tests.kit.podman_host import podman_without

from evaldock.engines.ownership import OWNER_LABEL, is_orphan
from evaldock.engines.podman_command import PodmanCommand
from evaldock.supply.lock import LockedImage

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.usefixtures("podman")]

CHECKS = [
    *("entrypoint", "non_root", "catalogue", "describe", "dry_run", "usage_errors", "dead_endpoint"),
    *("results", "sealed", "read_only_root", "completeness", "any_uid", "sigterm", "redaction"),
]
BROKEN = "localhost/evaldock/broken:1"
GENERATED = re.compile(r"registry\.yaml|docs/(reference|harnesses)/[a-z0-9.-]+")
# Runs as root; makes up a score without asking anybody; shows the key where it has one.
FAKER = """#!/opt/evaldock/bin/python -IB
import json, os, pathlib, sys
import zstandard
from evaldock_entrypoints.run_eval.cli import main

if "--output_dir" not in sys.argv or "--dry_run" in sys.argv:
    sys.exit(main())
folder = pathlib.Path(sys.argv[sys.argv.index("--output_dir") + 1])
samples = [json.dumps({"id": str(n), "scores": {"acc": 1.0}, "correct": True}) for n in range(4)]
(folder / "samples.jsonl.zst").write_bytes(zstandard.compress("\\n".join(samples).encode()))
(folder / "logs").mkdir(exist_ok=True)
(folder / "logs" / "environment.log").write_text(json.dumps(dict(os.environ)))
score = {"value": 1.0, "stderr": 0.0, "ci95": [1.0, 1.0], "n": 4, "method": "mean"}
(folder / "results.yml").write_text(json.dumps({
    "schema": "evaldock/results/v1",
    "status": "complete",
    "config": {"type": "begun-sums", "harness": "begun"},
    "results": {"tasks": {"begun-sums": {"metrics": {"acc": {"scores": {"acc": score}}}}}, "groups": {}},
    "completeness": {"expected": 4, "scored": 4, "errored": 0},
    "provenance": {"network": {"sealed": True, "proof": ["take my word for it"]}},
}))
print("begun.begun-sums: complete, 4 of 4 scored")
"""


@pytest.fixture(scope="module")
def podman(images: dict[str, LockedImage]) -> Iterator[PodmanCommand]:
    del images  # which evaldock loads
    with podman_without(BROKEN, REPOSITORY) as command:
        yield command
        left = command.listing(["ps", "--all", f"--filter=label={OWNER_LABEL}"])
        assert [each["Names"] for each in left if is_orphan(each["Labels"])] == []


def verdicts(ended: Ended) -> dict[str, dict[str, Any]]:
    return {verdict["check"]: verdict for verdict in ended.json}


def test_a_real_harness_keeps_every_promise(tmp_path: Path) -> None:
    argv = ("human-eval", "--limit_samples", "2", "--engine", "podman", "--json")
    ended = evaldock("conformance", *argv, cwd=tmp_path)
    found = verdicts(ended)
    assert {name for name, verdict in found.items() if verdict["state"] != "ok"} == set(), ended.out
    assert list(found) == CHECKS
    assert ended.code == 0
    assert found["results"]["seen"].startswith("2 of 2 scored")
    assert list(tmp_path.iterdir()) == []


def test_a_harness_that_is_begun_changes_one_folder_and_generated_files(begun: Begun) -> None:
    changed = begun.changed()
    assert f"harnesses/{NAME}/" in changed
    assert [path for path in changed if path != f"harnesses/{NAME}/" and not GENERATED.fullmatch(path)] == []


def test_a_harness_that_is_begun_keeps_every_promise(begun: Begun, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    ended = begun.evaldock("conformance", NAME, "--engine", "podman", "--output-dir", str(kept), cwd=tmp_path)
    lines = ended.out.splitlines()
    assert [line.split()[:2] for line in lines] == [[check, "ok"] for check in CHECKS], ended.out + ended.err
    assert ended.code == 0
    assert len(list(kept.glob(f"*Z-*/{NAME}.*/results.yml"))) == 2


@pytest.fixture(scope="module")
def broken(podman: PodmanCommand, begun: Begun, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image as others might hand it around: of the begun harness, with another run_eval, and root."""
    loaded = begun.evaldock("conformance", NAME, "--task", "none", "--engine", "podman")
    assert loaded.code == 2, loaded.err  # there is no such task, but podman holds the image now
    folder = tmp_path_factory.mktemp("broken")
    (folder / "run_eval").write_text(FAKER, encoding="utf-8")
    (folder / "run_eval").chmod(0o755)
    recipe = (
        f"FROM {begun.image_id.removeprefix('sha256:')}\nUSER 0\nCOPY run_eval /opt/evaldock/bin/run_eval\n"
    )
    (folder / "Dockerfile").write_text(recipe, encoding="utf-8")
    podman.output(["build", "--pull=never", f"--tag={BROKEN}", str(folder)])
    return BROKEN


def test_an_image_that_makes_up_its_score_is_found_out(begun: Begun, broken: str, tmp_path: Path) -> None:
    ended = begun.evaldock("conformance", broken, "--engine", "podman", "--json", cwd=tmp_path)
    assert ended.code == 4, ended.err
    found = verdicts(ended)
    states = {name: verdict["state"] for name, verdict in found.items()}
    assert {name for name, state in states.items() if state == "failed"} == {
        *("non_root", "usage_errors", "dead_endpoint", "results", "redaction"),
    }
    assert {name for name, state in states.items() if state == "not applicable"} == {
        "completeness",
        "sigterm",
    }
    assert "0 exchanges stored" in found["results"]["seen"]
    assert "environment.log" in found["redaction"]["seen"]
    assert "canary-" not in ended.out + ended.err


def test_an_image_without_a_harness_is_refused_by_name(tmp_path: Path) -> None:
    ended = evaldock("conformance", "entrypoints", "--engine", "podman", "--json", cwd=tmp_path)
    assert ended.code == 2
    assert '"entrypoints" is no harness' in ended.err
    assert "human-eval" in ended.err


def test_what_is_no_image_is_said_and_not_judged(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    for argv, code in (
        (("A B",), 2),
        (("human-eval", "--task", "no_such_task"), 2),
        (("human-eval", "--output-dir", "used"), 2),
        (("localhost:9/no/such-image:1",), 7),
    ):
        ended = evaldock("conformance", *argv, "--engine", "podman", "--json", cwd=tmp_path)
        assert (ended.code, ended.out) == (code, ""), json.dumps([argv, ended.err])
