"""What must hold before a harness is started."""

import os
from pathlib import Path

from evaldock_entrypoints.contract.adapter import PROBE_HEADER
from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import EndpointError, UsageError
from evaldock_entrypoints.contract.tasks import refuse_missing_shots
from evaldock_entrypoints.data.view import mounted_datasets
from evaldock_entrypoints.probe import Probe, wait_until_ready
from evaldock_entrypoints.probe.models import beside_v1
from evaldock_entrypoints.run_eval.job import Job

_WAIT_S = 4.0  # a refusal is clear within five seconds; one 429 or 503 is no reason to refuse


def refuse_unready(job: Job, *, allow_code_execution: bool) -> None:
    """Raise UsageError for anything about task and folder that would make the run fail."""
    _refuse_unwritable(job.scratch_dir or job.output_dir)
    _refuse_code_execution(job, allowed=allow_code_execution)
    refuse_missing_shots(
        job.task,
        job.extras.get("num_fewshot"),
        data_is_mounted=bool(mounted_datasets(job.mounted_data_dir, job.task)),
        place="params.extra.num_fewshot",
    )
    _refuse_missing_data(job)


def refuse_unready_endpoint(job: Job, endpoint: Endpoint, key: str | None) -> None:
    """Raise EndpointError where the endpoint does not answer as it should, or its score would lie.

    endpoint: the one under evaluation, or the same through the adapter, which has the key.
    """
    probe = Probe(endpoint=endpoint, api_key=key)
    probe.session.headers[PROBE_HEADER] = "1"  # to the adapter: no request of the task
    wait_until_ready(probe, _WAIT_S)
    _refuse_missing_tokenizer(job, probe)


def _refuse_unwritable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot create {folder}: {error.strerror}",
            where=f"--output_dir {folder}",
            next_step="mount a writable folder",
        ) from error
    if not os.access(folder, os.W_OK):
        raise UsageError(
            f"{folder} is not writable for uid {os.getuid()}",
            where=f"--output_dir {folder}",
            next_step="run the container with -u $(id -u):$(id -g), or mount a folder of yours",
        )


def _refuse_code_execution(job: Job, *, allowed: bool) -> None:
    if any(phase.executes_model_code for phase in job.phases) and not allowed:
        raise UsageError(
            f'task "{job.task.name}" executes code that the model wrote',
            where="--allow_code_execution",
            next_step="add --allow_code_execution, and start the container with --network none for scoring; "
            "evaldock run does both by itself",
        )


def _refuse_missing_data(job: Job) -> None:
    missing = [source for source in job.task.data if source.role == "test"]
    if not missing or job.expected_items() is not None:
        return
    held = [job.mounted_data_dir, job.data_dir]
    if all(any(folder and (folder / s.dataset).is_dir() for folder in held) for s in missing):
        return
    if "HF_HOME" in os.environ:
        return  # whether it is in that cache is known to those who read it
    raise UsageError(
        f'the data of "{job.task.name}" is not in this image: {", ".join(s.dataset for s in missing)}',
        where=f"data.path  {job.data_dir}",
        next_step=f"mount a folder with {missing[0].dataset}/ as data.path (evaldock data pull makes one), "
        "or name a hub's cache as HF_HOME",
    )


def _refuse_missing_tokenizer(job: Job, probe: Probe) -> None:
    if "tokenizer" not in job.task.capabilities or job.endpoint.type != "completions_logprob":
        return
    folder = job.extras.get("tokenizer")
    if folder:
        if not Path(folder).is_dir():
            raise UsageError(
                f"the tokenizer folder {folder} does not exist",
                where="params.extra.tokenizer",
                next_step="mount it, or check the path",
            )
        return
    url = beside_v1(probe.endpoint.base_url, "/tokenizer_info")
    try:
        probe.get(url)
    except EndpointError as error:
        raise EndpointError(
            f'task "{job.task.name}" needs the model\'s tokenizer, and the endpoint does not give it',
            where=f"{url}: {error.message}",
            next_step="set params.extra.tokenizer to the folder of the served model's tokenizer",
        ) from error
