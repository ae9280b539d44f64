"""The command line `run_eval` (also `eval-factory run_eval`, `nemo-evaluator run_eval`)."""

import json
import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, get_args

import click

from evaldock_entrypoints.command_line import run_command
from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.errors import (
    ExitCode,
    NotBuiltError,
    UsageError,
)
from evaldock_entrypoints.contract.framework import EndpointType, Framework, load_framework
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.contract.tasks import find_task
from evaldock_entrypoints.probe import Probe
from evaldock_entrypoints.probe.survey import ready, survey
from evaldock_entrypoints.run_eval import request
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.phases import phase_argv
from evaldock_entrypoints.run_eval.run import Options, run_task
from evaldock_entrypoints.run_eval.seal import Wanted

PROGRAM = "run_eval"
_IMAGE_RESULTS = Path("/results")
_OWN_SERVER = "http://127.0.0.1:8080/v1"
_SECONDS = click.FloatRange(min=0, min_open=True)


def harness_dir() -> Path:
    """Return the harness folder of this image."""
    return Path(os.environ.get("EVALDOCK_HARNESS_DIR", "/opt/harness-files"))


def data_dir() -> Path:
    """Return the benchmark data of this image."""
    return Path(os.environ.get("EVALDOCK_DATA_DIR", "/opt/data"))


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--eval_type", help="Task, or harness.task.")
@click.option("--model_id", help="Model name as the endpoint knows it.")
@click.option("--model_url", help="http://HOST:PORT/v1, with or without the route.")
@click.option(
    "--model_type",
    type=click.Choice(get_args(EndpointType)),
    help="Default: the first that the task supports.",
)
@click.option("--model_path", help="Serve this model with the backend of the same image.")
@click.option("--api_key_name", help="Name of the variable that holds the key.")
@click.option("--output_dir", type=click.Path(path_type=Path), help="Folder of this task's results.")
@click.option("--run_config", type=click.Path(path_type=Path), help="YAML document.")
@click.option("--overrides", help='"a.b=c,d.e=[1,2]", laid over everything.')
@click.option("--limit_samples", type=float, help="A number of items, or a share below 1.")
@click.option("--parallelism", type=int, help="Requests in flight.")
@click.option("--seed", type=int, help="Of sampling and of the choice of items.")
@click.option("--repeats", type=int, help="Samples per item.")
@click.option(
    "--time_limit_s", type=_SECONDS, default=86_400.0, show_default=True, help="Then stop, resumable."
)
@click.option("--allow_code_execution", is_flag=True, help="Run code that the model wrote in this container.")
@click.option("--fresh/--resume", default=False, help="Start over in the folder, or go on (default).")
@click.option("--phase", "phases", multiple=True, help="Only this phase of the harness (repeatable).")
@click.option(
    "--scratch_dir",
    type=click.Path(path_type=Path),
    help="With --phase in a sandbox: write here, take --output_dir as read-only.",
)
@click.option("--prove_only", is_flag=True, help="All phases have run elsewhere: parse, prove, write.")
@click.option(
    "--adapter_socket",
    type=click.Path(path_type=Path),
    help="Where the run's adapter is; without, this container starts one of its own.",
)
@click.option(
    "--network",
    type=click.Choice(get_args(Wanted)),
    default="auto",
    show_default=True,
    help="sealed: refuse to run where there is a way out.",
)
@click.option("--preflight_only", is_flag=True, help="Check everything, start nothing.")
@click.option("--dry_run", is_flag=True, help="Print the merged task and the exact argv.")
@click.option("--explain", is_flag=True, help="Print each value with where it was set.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def run_eval(context: click.Context, /, **flags: Any) -> None:
    """Evaluate a model behind an OpenAI-compatible endpoint with this image's harness.

    \b
    run_eval --eval_type arc_easy --model_url http://HOST:8080/v1 --model_id M --output_dir /results
    run_eval ls
    """
    if context.invoked_subcommand is None:
        context.exit(int(_run(flags)))


def _run(flags: dict[str, Any]) -> ExitCode:
    framework = load_framework(harness_dir())
    wanted = _request(flags, framework)
    asked = request.read_request(wanted, framework)
    for note in asked.read.notes:
        click.echo(f"{PROGRAM}: note: {note}", err=True)
    if flags["explain"]:
        click.echo(request.explained(asked, framework, harness_dir()))
        return ExitCode.COMPLETE
    job = request.make_job(asked, wanted, framework, harness_dir=harness_dir(), data_dir=data_dir())
    if flags["dry_run"]:
        click.echo(json.dumps(_dry_run(job, flags["model_path"]), indent=2))
        return ExitCode.COMPLETE
    if flags["model_path"]:
        raise NotBuiltError(
            "--model_path (a harness image with a backend in it)",
            where=f"--model_path {flags['model_path']}",
            next_step="serve the model in a container of its own and give --model_url",
        )
    options = Options(
        phases=flags["phases"],
        fresh=flags["fresh"],
        allow_code_execution=flags["allow_code_execution"],
        time_limit_s=flags["time_limit_s"],
        preflight_only=flags["preflight_only"],
        prove_only=flags["prove_only"],
        adapter_socket=flags["adapter_socket"],
        network=flags["network"],
    )
    settings = request.task_settings(asked, job)
    return run_task(job, settings, options, environ={**os.environ, **asked.read.keys}, echo=click.echo)


def _request(flags: dict[str, Any], framework: Framework) -> request.Request:
    if not flags["eval_type"] and not flags["run_config"]:
        names = ", ".join(task.name for task in framework.tasks)
        raise UsageError("no task given", where="--eval_type", next_step=f"one of: {names}")
    return request.Request(
        eval_type=flags["eval_type"],
        output_dir=flags["output_dir"] or (_IMAGE_RESULTS if flags["dry_run"] else None),
        run_config=flags["run_config"],
        overrides=flags["overrides"],
        flags={**flags, **_served_here(flags)},
        scratch_dir=flags["scratch_dir"],
    )


def _served_here(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the endpoint of a model that this image's own backend is to serve."""
    if not flags["model_path"]:
        return {}
    name = flags["model_id"] or PurePosixPath(flags["model_path"]).name
    return {"model_url": flags["model_url"] or _OWN_SERVER, "model_id": name}


def _dry_run(job: Job, model_path: str | None) -> dict[str, Any]:
    serve = ["serve", "--model_path", model_path, "--served_model_name", job.endpoint.model_id]
    return {
        **({"serve": serve} if model_path else {}),
        "task": f"{job.framework.name}.{job.task.name}",
        "endpoint": dict(job.endpoint.__dict__),
        "params": job.params,
        "extras": job.extras,
        "expected_items": job.expected_items(),
        "argv": {phase.name: phase_argv(job, phase) for phase in job.phases},
    }


@run_eval.command()
@click.option("--json", "as_json", is_flag=True, help="Print all that is declared about them, as JSON.")
def ls(as_json: bool) -> None:
    """List the tasks of this image.

    \b
    run_eval ls --json
    """
    framework = load_framework(harness_dir())
    if as_json:
        click.echo(json.dumps([task.model_dump(mode="json") for task in framework.tasks]))
        return
    for task in framework.tasks:
        click.echo(f"{framework.name}.{task.name}  [{', '.join(task.endpoint_types)}]  {task.description}")


@run_eval.command()
@click.argument("task")
def describe(task: str) -> None:
    """Show all that is declared about a task, as JSON.

    \b
    run_eval describe arc_easy
    """
    framework = load_framework(harness_dir())
    click.echo(json.dumps(find_task(framework, task, harness_dir()).model_dump(mode="json"), indent=2))


@run_eval.command()
@click.option("--model_url", required=True, help="http://HOST:PORT/v1, with or without the route.")
@click.option("--model_id", default="", help="Default: the only model that the endpoint lists.")
@click.option(
    "--model_type",
    type=click.Choice(get_args(EndpointType)),
    help="Ask for this type only; default: for every type, and one must work.",
)
@click.option("--api_key_name", help="Name of the variable that holds the key.")
@click.option("--timeout_s", type=_SECONDS, default=30.0, show_default=True, help="Time for all of it.")
@click.option("--wait_s", type=_SECONDS, help="Only wait until it is ready for its type, at most this long.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(model_url: str, model_id: str, model_type: Any, as_json: bool, **flags: Any) -> None:
    """Say whether an endpoint is reachable, authorised and truthful.

    \b
    run_eval check --model_url http://HOST:8080/v1 --model_type completions_logprob
    """
    endpoint = endpoint_at(
        model_url,
        model_id=model_id,
        endpoint_type=model_type or "completions_logprob",
        api_key_name=flags["api_key_name"],
    )
    probe = Probe(endpoint=endpoint, api_key=key_value(endpoint.api_key_name, os.environ))
    if flags["wait_s"] is not None:
        found = ready(probe, flags["wait_s"])
    else:
        found = survey(probe, model_type, limit_s=flags["timeout_s"])
    click.echo(json.dumps(found.as_tree()) if as_json else found.as_text())
    error = found.error()
    if error is not None:
        raise error


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the contract's code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # eval-factory run_eval …, as the vendor's tool spells it
    run_command(run_eval, arguments[1:] if arguments[:1] == ["run_eval"] else arguments, PROGRAM)
