"""A harness that is started once per repeat, and one that is started again on the stored answers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard
from tests.kit.closed_form import pass_at_k
from tests.kit.toy import FOLDER as TOY
from tests.kit.toy_answers import toy_answers

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.exchanges.traffic import read_traffic

pytestmark = pytest.mark.slow  # starts processes

CODE = "from evaldock_entrypoints.run_eval.cli import main; main()"
SHARE, ITEMS = 0.75, 20
Tree = dict[str, Any]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    table = toy_answers(tmp_path_factory.mktemp("answers"))
    with running_endpoint(answers=[table], share=SHARE) as running:
        yield running


@pytest.fixture
def endpoint(shared: RunningEndpoint) -> RunningEndpoint:
    shared.reset([])
    return shared


def harness(folder: Path, **changes: Any) -> Path:
    """Return a copy of the toy harness with another framework.yml."""
    shutil.copytree(TOY, folder)
    path = folder / "framework.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes), encoding="utf-8")
    return folder


def run(folder: Path, endpoint: RunningEndpoint, output: Path, *flags: str) -> tuple[int, Tree, str]:
    argv = [*(sys.executable, "-c", CODE, "--eval_type", "sums", "--model_id", "fake-model")]
    argv += ["--model_url", f"{endpoint.url}/v1", "--output_dir", str(output), *flags]
    env = os.environ | {"EVALDOCK_HARNESS_DIR": str(folder), "EVALDOCK_DATA_DIR": str(folder / "data")}
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    tree = yaml.safe_load((output / "results.yml").read_text(encoding="utf-8"))
    return ended.returncode, tree, ended.stdout + ended.stderr


def metrics(tree: Tree) -> dict[str, tuple[float, int]]:
    found = tree["results"]["tasks"]["sums"]["metrics"]
    return {name: (one["scores"][name]["value"], one["scores"][name]["n"]) for name, one in found.items()}


def asked(endpoint: RunningEndpoint) -> list[int]:
    return [item["asked"] for item in endpoint.stats()["items"].values()]


def once(folder: Path) -> Path:
    """Return a harness that asks each question once, whatever repeats are wanted."""
    phases = yaml.safe_load((TOY / "framework.yml").read_text())["phases"]
    phases[0]["files"]["toy.json"]["repeats"] = 1
    return harness(folder, repeats="runs", phases=phases)


def test_repeats_are_starts_of_the_harness_and_calls_of_their_own(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    out = tmp_path / "out"
    code, tree, said = run(once(tmp_path / "toy"), endpoint, out, "--repeats", "4")
    assert code == 0, said
    assert asked(endpoint) == [4] * ITEMS
    assert tree["completeness"] | {"expected": 80, "scored": 80} == tree["completeness"]
    assert metrics(tree) == dict.fromkeys(("acc", "pass@2", "pass@4"), (SHARE, ITEMS))
    text = zstandard.decompress((out / "samples.jsonl.zst").read_bytes(), max_output_size=2**20).decode()
    samples = [json.loads(line) for line in text.splitlines()]
    assert sorted({sample["repeat"] for sample in samples}) == [0, 1, 2, 3]
    assert sorted(path.name for path in (out / "native").iterdir()) == [f"repeat-{n}" for n in range(4)]


def test_repeats_that_differ_are_estimated_as_every_choice_of_k_of_them_says(tmp_path: Path) -> None:
    repeats = 5
    right_at = {
        item: [(item + shift) % repeats for shift in range(item % (repeats + 1))] for item in range(20)
    }
    table = toy_answers(tmp_path, right_at)
    out = tmp_path / "out"
    flags = ("--repeats", str(repeats), "--overrides", "params.temperature=0.8")
    with running_endpoint(answers=[table], share=0.0) as mixed:
        code, tree, said = run(once(tmp_path / "toy"), mixed, out, *flags)
        assert asked(mixed) == [repeats] * ITEMS
    assert code == 0, said
    outcomes = [[repeat in right_at[item] for repeat in range(repeats)] for item in range(ITEMS)]
    found = metrics(tree)
    assert set(found) == {"acc", "pass@2", "pass@4", "pass@5"}
    for name, k in (("acc", 1), ("pass@2", 2), ("pass@4", 4), ("pass@5", 5)):
        value, n = found[name]
        assert value == pytest.approx(pass_at_k(outcomes, k), abs=1e-12)
        assert n == ITEMS
    assert 0 < found["acc"][0] < found["pass@2"][0] < found["pass@4"][0] < found["pass@5"][0] < 1
    text = zstandard.decompress((out / "samples.jsonl.zst").read_bytes(), max_output_size=2**20).decode()
    samples = [json.loads(line) for line in text.splitlines()]
    assert all(sample["correct"] is (sample["repeat"] in right_at[int(sample["id"])]) for sample in samples)


def test_a_repeat_whose_figure_its_samples_do_not_carry_is_no_score(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    folder = once(tmp_path / "toy")
    lie = 'value=result["accuracy"] + (0.25 if job.repeat == 1 else -0.25 if job.repeat == 2 else 0)'
    text = (folder / "results.py").read_text().replace('value=result["accuracy"]', lie)
    (folder / "results.py").write_text(text, encoding="utf-8")
    code, tree, said = run(folder, endpoint, tmp_path / "out", "--repeats", "3")
    assert (code, tree["status"]) == (4, "failed")
    assert "its own samples give 0.75" in said


def replaying(folder: Path) -> Path:
    """Return a harness that asks, and in a second phase asks the same of the stored answers."""
    (ask,) = yaml.safe_load((TOY / "framework.yml").read_text())["phases"]
    toy = ask["files"]["toy.json"]
    again = ask | {
        "name": "score",
        "network": "replay",
        "executes_model_code": True,
        "writes": ["score"],
        "files": {"toy.json": toy | {"native": "{paths.native}/score"}},
    }
    made = harness(folder, phases=[ask, again])
    text = (made / "results.py").read_text().replace("job.native_dir /", 'job.native_dir / "score" /')
    (made / "results.py").write_text(text, encoding="utf-8")
    return made


def test_a_second_phase_is_answered_from_the_store_and_nobody_is_asked(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    out = tmp_path / "out"
    (out / "native" / "score").mkdir(parents=True)
    step = '{name: system_message, config: {system_message: "Be brief."}}'
    chain = f"target.api_endpoint.adapter_config.interceptors=[{step}]"
    flags = ("--allow_code_execution", "--repeats", "2", "--overrides", chain)
    code, tree, said = run(replaying(tmp_path / "toy"), endpoint, out, *flags)
    assert code == 0, said
    assert asked(endpoint) == [2] * ITEMS
    assert metrics(tree)["acc"] == (SHARE, ITEMS)
    traffic = read_traffic(out / "exchanges", repeats=2)
    assert traffic is not None
    assert traffic.target.requests == 2 * ITEMS  # the proof is the session that asked


def test_what_was_never_asked_is_no_answer_of_a_replay(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    folder = replaying(tmp_path / "toy")
    path = folder / "framework.yml"
    tree = yaml.safe_load(path.read_text())
    tree["phases"][0]["files"]["toy.json"]["limit"] = 5
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    out = tmp_path / "out"
    (out / "native" / "score").mkdir(parents=True)
    code, results, said = run(folder, endpoint, out, "--allow_code_execution")
    assert code != 0
    assert results["results"]["tasks"] == {}
    assert sum(asked(endpoint)) == 5, said
