"""The command of a wheel, as a shell is given it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.run_eval.vendor.conftest import DEFINITION, declare

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.errors import HarnessError, PinError, UsageError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.job import Auxiliary, Job
from evaldock_entrypoints.run_eval.phases import phase_argv, template_values

JobOf = Callable[..., Job]


def argv_of(job: Job) -> list[str]:
    """Run the command's phase, and return the words that the wheel's program was given."""
    folder = job.native_dir / "output"
    environment = {**os.environ, "EVALDOCK_API_KEY": "none", "OUT": str(folder)}
    subprocess.run(phase_argv(job, job.framework.phases[0]), env=environment, check=True)
    return (folder / "argv").read_text(encoding="utf-8").splitlines()


def test_the_wheel_s_program_gets_the_task_the_endpoint_and_our_values(job_of: JobOf) -> None:
    job = job_of(params={"limit_samples": 7, "repeats": 3})
    out = str(job.native_dir / "output")
    assert argv_of(job) == [
        *("--task", "the-plain", "--model", "org/m-1", "--url", "http://h:1/v1/chat/completions"),
        *("--type", "chat", "--out", out, "--retries", "1", "--timeout", "60"),
        *("--n", "3", "--lang", "en", "--limit", "7"),
    ]


def test_the_wheel_s_own_words_reach_its_program_as_the_wheel_wrote_them(job_of: JobOf) -> None:
    assert argv_of(job_of("spaced"))[-2:] == ["--own", "two words"]


def test_log_probabilities_are_a_matter_of_the_route_to_the_wheel(job_of: JobOf) -> None:
    argv = argv_of(job_of("spaced"))
    assert argv[argv.index("--type") + 1] == "completions"


def test_what_an_earlier_start_left_is_removed(job_of: JobOf) -> None:
    job = job_of()
    old = job.native_dir / "output" / "cache.sqlite"
    old.parent.mkdir(parents=True)
    old.touch()
    argv_of(job)
    assert not old.exists()


@pytest.mark.parametrize(
    "value", ["a b", "a;b", "$(id)", "`id`", "a'b", 'a"b', "a\nb", "a|b", "", "-rf", "../x"]
)
def test_a_model_id_that_a_shell_interprets_is_refused(job_of: JobOf, value: str) -> None:
    job = job_of(model_id=value)
    with pytest.raises(UsageError) as caught:
        phase_argv(job, job.framework.phases[0])
    assert caught.value.where == "target.api_endpoint.model_id"


@pytest.mark.parametrize("name", ["language", "args", "judge.top_p"])
def test_an_extra_that_a_shell_interprets_is_refused(job_of: JobOf, name: str) -> None:
    job = job_of(extras={name: "x; reboot"})
    with pytest.raises(UsageError) as caught:
        phase_argv(job, job.framework.phases[0])
    assert caught.value.where == f"config.params.extra.{name}"


def test_the_wheel_s_own_text_is_no_value_for_another_key(job_of: JobOf) -> None:
    with pytest.raises(UsageError) as caught:
        argv_of(job_of("spaced", extras={"language": "--own 'two words'"}))
    assert caught.value.where == "config.params.extra.language"


def test_only_the_extra_for_options_may_hold_one(job_of: JobOf) -> None:
    assert argv_of(job_of(extras={"args": "--verbose"}))[-1] == "--verbose"
    with pytest.raises(UsageError, match="'--verbose'"):
        argv_of(job_of(extras={"language": "--verbose"}))


def test_a_folder_of_results_that_a_shell_interprets_is_refused(job_of: JobOf, tmp_path: Path) -> None:
    job = job_of(output_dir=tmp_path / "my results")
    with pytest.raises(UsageError) as caught:
        phase_argv(job, job.framework.phases[0])
    assert caught.value.where == "config.output_dir"


def test_a_share_is_a_number_of_counted_items(job_of: JobOf) -> None:
    with pytest.raises(UsageError, match="how many a share is"):
        argv_of(job_of(params={"limit_samples": 0.25}))
    counted = {"dataset": "d", "config": "default", "split": "test", "records": 10, "license": "MIT"}
    job = job_of(params={"limit_samples": 0.25}, manifest=[counted])
    data = [{"dataset": "d", "split": "test", "license": "MIT"}]
    task = type(job.task).model_validate({**job.task.model_dump(), "data": data})
    argv = argv_of(job_of(params={"limit_samples": 0.25}, manifest=[counted], task=task))
    assert argv[argv.index("--limit") + 1] == "3"


def test_a_further_model_is_reached_where_the_document_names_one(job_of: JobOf) -> None:
    judge = endpoint_at("http://j:2/v1", model_id="j", endpoint_type="chat", api_key_name=None)
    job = job_of(auxiliary={"judge": Auxiliary(endpoint=judge, params={})})
    argv = argv_of(job)
    assert argv[argv.index("--judge") + 1] == "http://j:2/v1/chat/completions"
    assert "--judge" not in argv_of(job_of())


def test_the_folder_s_values_go_over_the_usual_ones(folder: Path, job_of: JobOf) -> None:
    values = {
        "target.api_endpoint.url": "{endpoint.base_url}",
        "config.params.max_retries": 0,
        "config.params.extra.language": {"$by": "task.name", "plain": "ja", "spaced": "vi"},
    }
    declare(folder, values=values)
    argv = argv_of(job_of())
    assert argv[argv.index("--url") + 1] == "http://h:1/v1"
    assert argv[argv.index("--retries") + 1] == "0"
    assert argv[argv.index("--lang") + 1] == "ja"
    assert "language" not in load_framework(folder).extras


def test_extras_that_a_folder_keeps_to_itself_are_none_of_its_users(folder: Path) -> None:
    declare(folder, without=["args"])
    assert load_framework(folder).extras.keys() == {"language", "judge.top_p"}


def test_another_wheel_in_the_environment_is_refused(job_of: JobOf, tmp_path: Path) -> None:
    job = job_of()
    (installed,) = tmp_path.glob("env/**/framework.yml")
    installed.write_text(DEFINITION.replace("small-eval", "other-eval"), encoding="utf-8")
    with pytest.raises(PinError, match="nvidia-small"):
        phase_argv(job, job.framework.phases[0])


def test_a_changed_copy_of_the_definition_is_refused(folder: Path) -> None:
    (folder / "vendor.yml").write_text(f"{DEFINITION}\n", encoding="utf-8")
    with pytest.raises(PinError, match="is not the definition"):
        load_framework(folder)


def test_a_task_that_the_wheel_has_not_is_refused(folder: Path) -> None:
    tree = json.loads((folder / "framework.yml").read_text(encoding="utf-8"))
    (folder / "framework.yml").write_text(json.dumps({**tree, "tasks": [{"name": "x"}]}), encoding="utf-8")
    with pytest.raises(HarnessError, match="no such task"):
        load_framework(folder)


def test_a_start_in_a_sandbox_is_the_same_below_the_folder_that_it_may_write(job_of: JobOf) -> None:
    job = job_of()
    vendor = template_values(job)["vendor"]
    native, score = str(job.native_dir), f"{job.native_dir}/score"
    assert vendor["score"]["script"] == vendor["script"].replace(native, score)
    assert vendor["score"]["job"]["folder"] == f"{score}/output"
    assert vendor["score"]["job"]["result"] == f"{score}/vendor_output.json"
