"""What flags, a run configuration and overrides come to, in the order of the contract."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kit.plans import plan_of

from evaldock_entrypoints.contract.adapter import TaskSettings
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.request import (
    Asked,
    Request,
    effective,
    explained,
    make_job,
    read_request,
    task_settings,
)

TOY = Path(__file__).parents[2] / "fixtures" / "toy-harness"
FRAMEWORK = load_framework(TOY)
CODE = "import sys; from evaldock_entrypoints.run_eval.cli import main; main(sys.argv[1:])"
KEY = "sk-canary-90d1"


def asked(
    folder: Path,
    config: str | None = None,
    overrides: str | None = None,
    eval_type: str | None = "sums",
    **flags: Any,
) -> Asked:
    path = folder / "run.yaml"
    path.write_text(config or "", encoding="utf-8")
    request = Request(
        eval_type=eval_type,
        output_dir=folder,
        run_config=path if config else None,
        overrides=overrides,
        flags={"model_url": "http://h/v1", "model_id": "m", **flags},
    )
    return read_request(request, FRAMEWORK)


def params(found: Asked) -> dict[str, Any]:
    values = effective(found, FRAMEWORK, FRAMEWORK.tasks[0])
    return {name: (value.value, value.origin) for name, value in values.params.items()}


def test_flags_beat_the_document_and_overrides_beat_flags(tmp_path: Path) -> None:
    config = (
        "evaluation:\n  params: {seed: 1, limit_samples: 5}\n"
        "  tasks:\n    - {name: sums, params: {parallelism: 2}}"
    )
    found = params(asked(tmp_path, config))
    assert found["seed"] == (1, f"{tmp_path}/run.yaml:2")
    assert found["parallelism"] == (2, f"{tmp_path}/run.yaml:4")
    found = params(asked(tmp_path, config, seed=3, parallelism=4))
    assert (found["seed"], found["parallelism"]) == ((3, "--seed"), (4, "--parallelism"))
    found = params(asked(tmp_path, config, "params.seed=9,evaluation.params.limit_samples=7", seed=3))
    assert (found["seed"][0], found["limit_samples"][0]) == (9, 7)


@pytest.mark.parametrize(
    "override",
    ["params.limit_samples=7", "evaluation.params.limit_samples=7", "config.params.limit_samples=7"],
)
def test_every_spelling_of_an_override_reaches_the_task(tmp_path: Path, override: str) -> None:
    config = "evaluation: {tasks: [{name: sums, params: {limit_samples: 5}}]}"
    assert params(asked(tmp_path, config, override))["limit_samples"][0] == 7
    assert params(asked(tmp_path, None, override))["limit_samples"][0] == 7


def test_a_nemo_run_configuration_means_the_same_as_ours(tmp_path: Path) -> None:
    nemo = (
        "config:\n  type: sums\n  output_dir: results\n"
        "  params: {limit_samples: 4, parallelism: 3, extra: {mode: drop}}\n"
        "target:\n  api_endpoint: {url: 'http://h/v1/completions/', model_id: m, type: completions}\n"
    )
    found = asked(tmp_path, nemo, eval_type=None)
    assert found.eval_type == "sums"
    assert params(found)["limit_samples"] == (4, f"{tmp_path}/run.yaml:4")
    assert effective(found, FRAMEWORK, FRAMEWORK.tasks[0]).extras["mode"].value == "drop"
    assert found.document.target.api_endpoint.type == "completions"


def test_the_folder_is_the_flags_else_the_run_configurations(tmp_path: Path) -> None:
    found = asked(tmp_path, "output: {dir: /out/here}")
    places = {"harness_dir": TOY, "data_dir": TOY / "data"}
    none = Request(eval_type="sums", output_dir=None, flags={})
    assert make_job(found, none, FRAMEWORK, **places).output_dir == Path("/out/here")
    flag = Request(eval_type="sums", output_dir=Path("/other"), flags={})
    assert make_job(found, flag, FRAMEWORK, **places).output_dir == Path("/other")
    with pytest.raises(UsageError, match="no folder"):
        make_job(asked(tmp_path), none, FRAMEWORK, **places)


def test_of_a_document_with_many_tasks_each_keeps_its_own_lines(tmp_path: Path) -> None:
    config = (
        "evaluation:\n  tasks:\n    - other\n    - name: toy.sums\n      params:\n        extra: {mod: x}\n"
    )
    with pytest.raises(UsageError) as caught:
        effective(asked(tmp_path, config, eval_type="toy.sums"), FRAMEWORK, FRAMEWORK.tasks[0])
    assert caught.value.where == f"{tmp_path}/run.yaml:6  evaluation.tasks[0].params.extra.mod"
    assert caught.value.next_step == 'did you mean "mode"?'
    with pytest.raises(UsageError, match="no task given"):
        asked(tmp_path, config, eval_type=None)


@pytest.mark.parametrize(
    ("written", "eval_type"), [("a_toy.sums", "toy.sums"), ("toy.sums", "sums"), ("sums", "toy.sums")]
)
def test_a_task_keeps_its_parameters_under_every_name_of_its_harness(
    tmp_path: Path, written: str, eval_type: str
) -> None:
    config = f"evaluation:\n  tasks:\n    - other.maxima\n    - {{name: {written}, params: {{seed: 7}}}}\n"
    assert params(asked(tmp_path, config, eval_type=eval_type))["seed"] == (7, f"{tmp_path}/run.yaml:4")


def test_the_tasks_own_name_goes_before_one_that_could_mean_it(tmp_path: Path) -> None:
    config = (
        "evaluation:\n  tasks:\n    - {name: sums, params: {seed: 1}}\n"
        "    - {name: toy.sums, params: {seed: 2}}\n"
    )
    assert params(asked(tmp_path, config, eval_type="toy.sums"))["seed"][0] == 2
    aliases = "evaluation: {tasks: [a_toy.sums, another.sums]}"
    with pytest.raises(UsageError, match="cannot be told"):
        asked(tmp_path, aliases, eval_type="toy.sums")


MODELS = """
target:
  api_endpoint:
    adapter_config: {interceptors: [{name: endpoint, config: {replicas: [http://two/v1/completions]}}]}
  auxiliary:
    judge: {url: http://j/v1/completions/, model_id: j, request_timeout: 11}
    user: {url: http://u, model_id: u, max_retries: 0, stream: true}
evaluation: {params: {request_timeout: 22, max_retries: 3}}
"""


def settings(folder: Path, config: str, **flags: Any) -> TaskSettings:
    """Return what the adapter of a harness that stands alone is told."""
    found = asked(folder, config, **flags)
    request = Request(eval_type="sums", output_dir=folder, flags={})
    return task_settings(found, make_job(found, request, FRAMEWORK, harness_dir=TOY, data_dir=TOY / "data"))


def test_an_adapter_of_its_own_is_told_what_that_of_a_run_is(tmp_path: Path) -> None:
    told = settings(tmp_path, MODELS, model_url="http://h/v1/chat/completions")
    run = {"model_id": "m", "url": "http://h/v1/chat/completions"}
    tree: dict[str, Any] = yaml.safe_load(MODELS)
    tree["target"]["api_endpoint"] |= run
    made = plan_of(tree | {"evaluation": {**tree["evaluation"], "tasks": ["gsm8k_cot"]}}).adapter
    assert made is not None
    (of_run,) = made.settings.tasks.values()
    assert told.target == of_run.target
    assert told.auxiliary == of_run.auxiliary
    assert (told.target.type, told.target.base_urls) == ("chat", ["http://h/v1", "http://two/v1"])
    judge, user = told.auxiliary["judge"], told.auxiliary["user"]
    assert (judge.base_urls, judge.type) == (["http://j/v1"], "completions")
    assert (judge.request_timeout_s, judge.max_retries) == (11, 3)
    assert (user.base_urls, user.type, user.stream) == (["http://u/v1"], "chat", True)
    assert (user.request_timeout_s, user.max_retries) == (22, 0)


def test_a_role_without_a_model_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='role "judge" has no model_id') as caught:
        settings(tmp_path, MODELS.replace("model_id: j, ", ""))
    assert f"{tmp_path / 'run.yaml'}:6" in (caught.value.where or "")


def test_a_key_in_the_overrides_goes_to_the_environment_and_nowhere_else(tmp_path: Path) -> None:
    found = asked(tmp_path, None, f"target.api_endpoint.api_key={KEY}")
    assert found.read.keys == {"EVALDOCK_API_KEY": KEY}
    request = Request(eval_type="sums", output_dir=tmp_path, flags={})
    job = make_job(found, request, FRAMEWORK, harness_dir=TOY, data_dir=TOY / "data")
    assert job.endpoint.api_key_name == "EVALDOCK_API_KEY"
    assert KEY not in repr(job) + repr(found.document)


def test_every_value_is_explained_by_where_it_was_set(tmp_path: Path) -> None:
    text = explained(asked(tmp_path, "evaluation:\n  params: {seed: 1}", limit_samples=3), FRAMEWORK, TOY)
    lines = {line.partition(" = ")[0]: line for line in text.splitlines()}
    assert lines["toy.sums.params.seed"].endswith(f"# {tmp_path}/run.yaml:2")
    assert lines["toy.sums.params.limit_samples"].endswith("# --limit_samples")
    assert lines["toy.sums.params.top_p"].endswith("# default")
    assert lines["target.api_endpoint.url"].endswith("# --model_url")


def test_the_command_for_an_image_with_a_backend_dry_runs_and_says_what_is_not_built(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, "run_eval", "--eval_type", "sums"]
    command += ["--model_path", "/models/llama-3.1-8b", "--output_dir", str(tmp_path)]
    env = os.environ | {"EVALDOCK_HARNESS_DIR": str(TOY), "EVALDOCK_DATA_DIR": str(TOY / "data")}
    planned = subprocess.run(
        [*command, "--dry_run"], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    tree = json.loads(planned.stdout)
    assert tree["serve"][:3] == ["serve", "--model_path", "/models/llama-3.1-8b"]
    assert tree["endpoint"]["model_id"] == "llama-3.1-8b"
    refused = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "not built yet" in refused.stderr
