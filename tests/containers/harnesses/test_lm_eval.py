"""lm-eval's tasks that run code, its repeats, and what it knows beside the declared tasks."""

import json
import math
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import lm_eval_answers
from tests.kit.cli import Ended, evaldock, only_run, run_document, scores, task_results

from evaldock.local_data import convert
from evaldock.supply.lock import LockedImage
from evaldock.supply.paths import checkout_root
from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT = 12
FOLDER = checkout_root() / "harnesses" / "lm-eval"
SUBJECTS = (
    *("biology", "business", "chemistry", "computer science", "economics", "engineering", "health"),
    *("history", "law", "math", "other", "philosophy", "physics", "psychology"),
)
# None of them passes, none ends the scoring, none changes the verdict on another.
ATTACKS = (
    "    import os\n    os._exit(0)\n",
    "    raise SystemExit(0)\n",
    "    while True:\n        pass\n",
    "    hoard = [bytearray(1024**3) for _ in range(9)]\n",
    "    import ctypes\n    libc = ctypes.CDLL(None)\n    while libc.fork() >= 0:\n        pass\n",
    "    open('/tmp/full', 'wb').write(b'x' * 1024**3)\n",
    "    import pathlib\n    for found in pathlib.Path('/opt').rglob('*'):\n        found.unlink()\n",
    "    import socket\n    socket.create_connection(('192.0.2.1', 53), timeout=1)\n",
    "    import os\n    for number in range(3, 40):\n        try:\n            os.write(number, b'1' * 32)\n"
    "        except OSError:\n            pass\n    os._exit(0)\n",
)


def run(tmp_path: Path, url: str, endpoint_type: str | None, task: str, *argv: str, **params: Any) -> Ended:
    endpoint = {"url": f"{url}/v1", "model_id": "fake-model"}
    if endpoint_type:
        endpoint["type"] = endpoint_type
    tree = {
        "target": {"api_endpoint": endpoint},
        "evaluation": {"tasks": [{"name": f"lm-eval.{task}", "params": params}]},
    }
    return run_document(tree, tmp_path, *argv)


@pytest.mark.parametrize(
    ("task", "endpoint_type", "metrics"),
    [
        ("humaneval", "completions", ("pass@1,create_test",)),
        ("minerva_math500", "chat", ("exact_match", "math_verify")),
    ],
)
def test_the_share_that_was_right_is_reported_also_where_requests_failed_at_first(
    tmp_path: Path,
    client: docker.DockerClient,
    images: dict[str, LockedImage],
    task: str,
    endpoint_type: str,
    metrics: tuple[str, ...],
) -> None:
    table = lm_eval_answers(client, images["lm-eval"], task, LIMIT, tmp_path)
    fault = {"match": {"share": 0.2, "first_n": 1}, "action": "status", "status": 429}
    with running_endpoint(answers=[table], share=0.75, faults=[fault]) as endpoint:
        ended = run(tmp_path, endpoint.url, endpoint_type, task, limit_samples=LIMIT)
        answered = [item["answered"] for item in endpoint.stats()["items"].values()]
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, f"lm-eval.{task}")
    assert answered == [1] * LIMIT  # the second phase asked nobody
    assert results["completeness"]["scored"] == LIMIT
    for name in metrics:
        found = scores(results, task)[name]
        assert (found["value"], found["n"]) == (0.75, LIMIT)
        assert found["stderr"] == pytest.approx(math.sqrt(0.75 * 0.25 / (LIMIT - 1)), abs=1e-12)


def test_answers_that_attack_the_scoring_fail_and_the_others_keep_their_verdicts(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = lm_eval_answers(client, images["lm-eval"], "humaneval", LIMIT, tmp_path)
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    for row, attack in zip(rows, ATTACKS, strict=False):
        row["right"] = row["wrong"] = attack
    table.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with running_endpoint(answers=[table], share=1.0) as endpoint:
        ended = run(tmp_path, endpoint.url, "completions", "humaneval", limit_samples=LIMIT)
    assert ended.code == 0, ended.err
    found = scores(task_results(tmp_path, "lm-eval.humaneval"), "humaneval")["pass@1,create_test"]
    assert found["value"] == pytest.approx((LIMIT - len(ATTACKS)) / LIMIT, abs=1e-12)


def test_each_repeat_asks_with_its_own_seed_and_pass_at_k_is_estimated(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = lm_eval_answers(client, images["lm-eval"], "gsm8k_cot", 4, tmp_path)
    with running_endpoint(answers=[table], share=0.5) as endpoint:
        asked = {"limit_samples": 4, "repeats": 3, "temperature": 0.8, "seed": 7}
        ended = run(tmp_path, endpoint.url, "chat", "gsm8k_cot", **asked)
        counts = [item["asked"] for item in endpoint.stats()["items"].values()]
        bodies = [json.loads(request["body"]) for request in endpoint.last_requests()]
    assert ended.code == 0, ended.err
    assert counts == [3] * 4
    assert (
        sorted(body["seed"] for body in bodies if body["temperature"] == 0.8) == [7] * 4 + [8] * 4 + [9] * 4
    )
    results = task_results(tmp_path, "lm-eval.gsm8k_cot")
    assert results["completeness"]["scored"] == 12
    found = scores(results, "gsm8k_cot")
    for name in ("exact_match,flexible-extract", "pass@2", "pass@3"):
        assert found[name]["value"] == 0.5


def test_the_lists_are_what_the_images_lm_eval_knows(
    client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    script = "import sys; sys.path.insert(0, '/opt/harness-files'); import list_tasks, pathlib, hashlib\n"
    script += "list_tasks.main(pathlib.Path('/tmp'))\n"
    script += "print([pathlib.Path('/tmp', n).read_bytes().hex() for n in sys.argv[1:]].__repr__())"
    names = ["further_tasks.tsv.zst", "task_files.tsv.xz"]
    output = client.containers.run(
        images["lm-eval"].image_id,
        ["/opt/harness/bin/python", "-c", script, *names],
        network_mode="none",
        remove=True,
        stderr=False,
    )
    made = json.loads(output.decode().splitlines()[-1].replace("'", '"'))
    assert [bytes.fromhex(text) for text in made] == [(FOLDER / name).read_bytes() for name in names]


def test_a_task_that_is_not_declared_runs_by_its_full_name(tmp_path: Path, engine_host: str) -> None:
    del engine_host
    with running_endpoint() as endpoint:
        ended = run(tmp_path, endpoint.url, None, "mmlu_anatomy", limit_samples=6)
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, "lm-eval.mmlu_anatomy")
    assert scores(results, "mmlu_anatomy")["acc"]["n"] == 6
    assert "undeclared" in ended.out + json.dumps(results)


def test_an_undeclared_task_without_data_says_what_to_mount(tmp_path: Path, engine_host: str) -> None:
    del engine_host
    with running_endpoint() as endpoint:
        ended = run(tmp_path, endpoint.url, None, "blimp_adjunct_island", limit_samples=2)
        assert endpoint.stats()["requests"] <= 8  # what the preflight asks
    assert ended.code == 2, ended.err
    assert "nyu-mll/blimp" in ended.err
    error = task_results(tmp_path, "lm-eval.blimp_adjunct_island")["error"]
    assert "mount" in error["next"]
    assert "nyu-mll/blimp/" in error["next"]
    assert "data.path" in error["next"]


def test_an_unknown_name_is_refused_with_near_ones_on_the_host_and_in_the_image(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    ended = run(tmp_path, "http://127.0.0.1:9", None, "blimp_adjunct_iland", "--dry_run")
    assert ended.code == 2
    assert "blimp_adjunct_island" in ended.err
    argv = [
        "run_eval",
        "--eval_type",
        "mmlu_anatom",
        "--model_url",
        "http://127.0.0.1:9/v1",
        "--model_id",
        "m",
    ]
    container = client.containers.create(
        images["lm-eval"].image_id, [*argv, "--output_dir", "/tmp/out"], network_mode="none"
    )
    try:
        container.start()
        assert container.wait()["StatusCode"] == 2
        assert b"mmlu_anatomy" in container.logs()
    finally:
        container.remove()


def test_what_was_scored_without_being_asked_gives_no_result(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = lm_eval_answers(client, images["lm-eval"], "mbpp", 4, tmp_path)
    item = json.loads(table.read_text(encoding="utf-8").splitlines()[2])["id"]
    fault = {"match": {"item": item}, "action": "status", "status": 500}
    with running_endpoint(answers=[table], faults=[fault]) as endpoint:
        ended = run(tmp_path, endpoint.url, "completions", "mbpp", limit_samples=4, max_retries=1)
        assert ended.code == 4, ended.err
        assert task_results(tmp_path, "lm-eval.mbpp")["results"]["tasks"] == {}
        endpoint.reset(faults=[])
        again = evaldock("resume", only_run(tmp_path).name, cwd=tmp_path)
        assert again.code == 0, again.err
    assert task_results(tmp_path, "lm-eval.mbpp")["completeness"]["scored"] == 4


def mmlu_pro(number: int, subject: str) -> dict[str, Any]:
    """Return an item in MMLU-Pro's form."""
    return {
        "question_id": number,
        "question": f"Which number is {number} of {subject}?",
        "options": [str(number + offset) for offset in (1, 0, 2)],
        "answer": "B",
        "answer_index": 1,
        "cot_content": f"A: Let's think step by step. It is {number}. The answer is (B).",
        "category": subject,
        "src": "made up",
    }


def test_mounted_data_is_asked_with_its_examples(tmp_path: Path, engine_host: str) -> None:
    del engine_host
    source = tmp_path / "from"
    source.mkdir()
    asked = [mmlu_pro(number, subject) for number, subject in enumerate(SUBJECTS)]
    examples = [mmlu_pro(100 + number, subject) for number in range(5) for subject in SUBJECTS]
    rows = [
        {
            "id": row["category"],
            "match": row["question"],
            "kind": "generate",
            "right": "The answer is (B).",
            "wrong": "(C)",
        }
        for row in asked
    ]
    for path, lines in (
        (source / "test.jsonl", asked),
        (source / "validation.jsonl", examples),
        (tmp_path / "answers.jsonl", rows),
    ):
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    convert("mmlu_pro", source, tmp_path / "data")
    with running_endpoint(answers=[tmp_path / "answers.jsonl"], share=0.5) as endpoint:
        without = run(tmp_path, endpoint.url, "chat", "mmlu_pro")
        assert (without.code, "mmlu_pro --into data" in without.err) == (2, True)
        ended = run(tmp_path, endpoint.url, "chat", "mmlu_pro", "-o", f"data.path={tmp_path / 'data'}")
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, "lm-eval.mmlu_pro")
    found = scores(results, "mmlu_pro", "groups")["exact_match,custom-extract"]
    assert (found["value"], found["n"]) == (0.5, len(SUBJECTS))
    assert {entry["records"] for entry in results["provenance"]["data"] if "records" in entry} == {14, 70}
