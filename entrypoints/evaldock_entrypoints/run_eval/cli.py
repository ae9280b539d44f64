"""The command line `run_eval` (also `eval-factory run_eval`, `nemo-evaluator run_eval`)."""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.errors import (
    EvaldockError,
    ExitCode,
    NotBuiltError,
    UsageError,
    internal_error,
)
from evaldock_entrypoints.contract.framework import Framework, load_framework
from evaldock_entrypoints.contract.tasks import find_task
from evaldock_entrypoints.probe import Probe, key_value, wait_until_ready
from evaldock_entrypoints.run_eval import request
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.phases import phase_argv
from evaldock_entrypoints.run_eval.run import Options, run_task

PROGRAM = "run_eval"


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
@click.option("--model_type", type=click.Choice(["chat", "completions", "completions_logprob", "embedding"]))
@click.option("--model_path", help="Serve this model with the backend of the same image.")
@click.option("--api_key_name", help="Name of the variable that holds the key.")
@click.option("--output_dir", type=click.Path(path_type=Path), help="Folder of this task's results.")
@click.option("--run_config", type=click.Path(path_type=Path), help="YAML document.")
@click.option("--overrides", help='"a.b=c,d.e=[1,2]", laid over everything.')
@click.option("--limit_samples", type=float, help="A number of items, or a share below 1.")
@click.option("--parallelism", type=int, help="Requests in flight.")
@click.option("--seed", type=int)
@click.option("--repeats", type=int, help="Samples per item.")
@click.option("--time_limit_s", type=float, default=86_400.0, show_default=True, help="Then stop, resumable.")
@click.option("--allow_code_execution", is_flag=True, help="Run code that the model wrote in this container.")
@click.option("--fresh/--resume", default=False, help="Start over in the folder, or go on (default).")
@click.option("--phase", "phases", multiple=True, help="Only this phase of the harness (repeatable).")
@click.option(
    "--scratch_dir",
    type=click.Path(path_type=Path),
    help="With --phase in a sandbox: write here, take --output_dir as read-only.",
)
@click.option("--prove_only", is_flag=True, help="All phases have run elsewhere: parse, prove, write.")
@click.option("--preflight_only", is_flag=True, help="Check everything, start nothing.")
@click.option("--dry_run", is_flag=True, help="Print the merged task and the exact argv.")
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
    document = request.read_document(wanted)
    job = request.make_job(document, wanted, framework, harness_dir=harness_dir(), data_dir=data_dir())
    if flags["dry_run"]:
        click.echo(json.dumps(_dry_run(job), indent=2))
        return ExitCode.COMPLETE
    options = Options(
        phases=flags["phases"],
        fresh=flags["fresh"],
        allow_code_execution=flags["allow_code_execution"],
        time_limit_s=flags["time_limit_s"],
        preflight_only=flags["preflight_only"],
        prove_only=flags["prove_only"],
    )
    return run_task(job, options, environ=dict(os.environ), echo=click.echo)


def _request(flags: dict[str, Any], framework: Framework) -> request.Request:
    if flags["model_path"]:
        raise NotBuiltError("--model_path (a harness image with a backend in it)", where="--model_path")
    if not flags["eval_type"]:
        names = ", ".join(task.name for task in framework.tasks)
        raise UsageError("no task given", where="--eval_type", next_step=f"one of: {names}")
    if not flags["output_dir"] and not flags["dry_run"]:
        raise UsageError(
            "no folder for the results given", where="--output_dir", next_step="--output_dir /results"
        )
    return request.Request(
        eval_type=flags["eval_type"],
        output_dir=flags["output_dir"] or Path("/results"),
        run_config=flags["run_config"],
        overrides=flags["overrides"],
        flags=flags,
        scratch_dir=flags["scratch_dir"],
    )


def _dry_run(job: Job) -> dict[str, Any]:
    return {
        "task": f"{job.framework.name}.{job.task.name}",
        "endpoint": dict(job.endpoint.__dict__),
        "params": job.params,
        "extras": job.extras,
        "expected_items": job.expected_items(),
        "argv": {phase.name: phase_argv(job, phase) for phase in job.framework.phases},
    }


@run_eval.command()
@click.option("--json", "as_json", is_flag=True)
def ls(as_json: bool) -> None:
    """List the tasks of this image."""
    framework = load_framework(harness_dir())
    if as_json:
        click.echo(json.dumps([task.model_dump(mode="json") for task in framework.tasks]))
        return
    for task in framework.tasks:
        click.echo(f"{framework.name}.{task.name}  [{', '.join(task.endpoint_types)}]  {task.description}")


@run_eval.command()
@click.argument("task")
def describe(task: str) -> None:
    """Show all that is declared about a task, as JSON."""
    framework = load_framework(harness_dir())
    click.echo(json.dumps(find_task(framework, task).model_dump(mode="json"), indent=2))


@run_eval.command()
@click.option("--model_url", required=True)
@click.option("--model_id", required=True)
@click.option(
    "--model_type",
    type=click.Choice(["chat", "completions", "completions_logprob", "embedding"]),
    default="completions_logprob",
    show_default=True,
)
@click.option("--api_key_name")
@click.option("--wait_s", type=float, default=0.0, show_default=True, help="Poll until ready, this long.")
def check(model_url: str, model_id: str, model_type: Any, api_key_name: str | None, wait_s: float) -> None:
    """Probe an endpoint: reachable, authorised, truthful log-probabilities."""
    endpoint = endpoint_at(model_url, model_id=model_id, endpoint_type=model_type, api_key_name=api_key_name)
    key = key_value(api_key_name, os.environ)
    wait_until_ready(Probe(endpoint=endpoint, api_key=key), wait_s)
    click.echo(f"{endpoint.url}: {model_type} answers as it should")


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["run_eval"]:  # eval-factory run_eval …
        arguments = arguments[1:]
    try:
        sys.exit(int(run_eval.main(arguments, prog_name=PROGRAM, standalone_mode=False) or 0))
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(int(ExitCode.USAGE))
    except click.Abort:
        sys.exit(int(ExitCode.INTERRUPTED))
    except EvaldockError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        click.echo(error.render(PROGRAM), err=True)
        sys.exit(int(error.exit_code))
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence for users, a traceback on demand
        if "--debug" in arguments:
            traceback.print_exc()
        click.echo(internal_error(error).render(PROGRAM), err=True)
        sys.exit(int(ExitCode.INTERNAL))
