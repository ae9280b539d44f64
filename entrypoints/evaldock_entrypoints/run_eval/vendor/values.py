"""What the placeholders `vendor.*` stand for: the rendered command, and how its results are read.

The vendor's command is text for a shell, the one exception to "there is no shell". It is the wheel's own
text, pinned by hash twice (the wheel in requirements.lock, the definition in framework.yml); what is put into
it is a number, a truth value or a word in which no shell finds anything to interpret; and it runs where every
harness runs, without a network, a key or a folder but its own.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import PinError, UsageError
from evaldock_entrypoints.contract.vendor.command import refuse_unsafe, render_command
from evaldock_entrypoints.contract.vendor.context import (
    EXTRA,
    MODEL_OWN_KEYS,
    command_context,
    roles_of,
    vendor_texts,
)
from evaldock_entrypoints.contract.vendor.definition import Entry, Tree
from evaldock_entrypoints.contract.vendor.folder import API_KEY, OUTPUT, vendor_definition
from evaldock_entrypoints.contract.vendor.safe import is_safe, is_safe_argument, leaves
from evaldock_entrypoints.contract.vendor.translation import REPEATS
from evaldock_entrypoints.contract.vendor.wheel import Vendor
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.template import render

FOLDER = "output"  # of the vendor's command, below native/ or native/score/
SCORE = "score"  # below native/, which a phase that runs model code may write
_PARAMS = ("limit_samples", "max_new_tokens", "parallelism", "temperature", "request_timeout", "top_p")
# Trying again is the adapter's part. Most programs count attempts, and take 0 for no limit or for an error.
_ATTEMPTS = 1
_READER = Path(__file__).with_name("read_output.py")


def vendor_values(job: Job, vendor: Vendor, values: Mapping[str, Any]) -> Tree:
    """Return reader, script and job for framework.yml's placeholders, `score.*` for a start in a sandbox.

    values: what the other placeholders stand for. Raises UsageError for a value that a shell would interpret,
    PinError where the environment holds another wheel than the one whose definition the folder has.
    """
    prefix = os.environ.get("EVALDOCK_HARNESS_PREFIX", "/opt/harness")
    refuse_unsafe({"EVALDOCK_HARNESS_PREFIX": prefix}, is_safe_argument, {})
    _refuse_other_wheel(Path(prefix), vendor)
    definition = vendor_definition(job.harness_dir, vendor)
    entry = next(one for one in definition.entries if one.name == job.task.native_name)
    module = f"core_evals.{definition.package}.output"

    def start(native: Path) -> Tree:
        context = _context(job, vendor, entry, values, native / FOLDER)
        command = render_command(entry.command, context, vendor_texts(entry))
        folder = context["config"]["output_dir"]
        return {
            "script": f"export PATH={prefix}/bin:$PATH\nrm -rf {folder}\nmkdir -p {folder}\n{command}",
            "job": {
                "module": module,
                "folder": folder,
                "run_config": {"command": command, **context},
                "result": str(native / OUTPUT),
            },
        }

    return {"reader": str(_READER), **start(job.native_dir), SCORE: start(job.native_dir / SCORE)}


def _context(job: Job, vendor: Vendor, entry: Entry, values: Mapping[str, Any], output: Path) -> Tree:
    """Return what the template sees, all of it checked; raises UsageError naming the key that is not safe."""
    own = dict(leaves(command_context(entry, {})))
    usual = {"config.output_dir": str(output), **_usual(job, entry, values)}
    extras = _extras(job, entry)
    given = {key: render(value, dict(values)) for key, value in vendor.values.items()}
    options = {key: extras.pop(key) for key in list(extras) if key.endswith(".args")}
    refuse_unsafe({**usual, **extras}, is_safe_argument, own)
    refuse_unsafe({**options, **given}, is_safe, own)
    return command_context(entry, {**usual, **extras, **options, **given})


def _refuse_other_wheel(prefix: Path, vendor: Vendor) -> None:
    """Raise PinError where the installed definition is not the pinned one."""
    found = list(prefix.glob(f"lib/python3*/site-packages/{vendor.definition}"))
    if [hashlib.sha256(path.read_bytes()).hexdigest() for path in found] != [vendor.sha256]:
        raise PinError(
            f"the environment does not hold the {vendor.package} whose definition the harness folder has",
            where=str(found[0] if found else prefix / "lib" / vendor.definition),
            next_step="bring requirements.lock and vendor.yml to one version of the wheel, and build anew",
        )


def _usual(job: Job, entry: Entry, values: Mapping[str, Any]) -> Tree:
    """Return the vendor's keys that every task has, as this job has them."""
    endpoint, params = values["endpoint"], values["params"]
    target = {
        "url": endpoint["url"],
        "model_id": endpoint["model_id"],
        "type": endpoint["type"].removesuffix("_logprob"),  # the route is all that it decides there
        "api_key_name": API_KEY,
        "api_key": API_KEY,
    }
    return {
        **{f"target.api_endpoint.{key}": value for key, value in target.items()},
        **{f"config.params.{key}": _whole(params[key]) for key in _PARAMS},
        "config.params.limit_samples": _limit(job),
        "config.params.max_retries": _ATTEMPTS,
        **({f"{EXTRA}{REPEATS}": params["repeats"]} if REPEATS in entry.extra else {}),
        **_roles(entry, values),
    }


def _roles(entry: Entry, values: Mapping[str, Any]) -> Tree:
    """Return the keys of further models; null where the task has none."""
    found: Tree = {}
    for role in roles_of(entry):
        model = values.get("auxiliary", {}).get(role) or {}
        key = API_KEY if model.get("url") else None
        own = {
            "url": model.get("url"),
            "model_id": model.get("model_id"),
            "api_key": key,
            "api_key_name": key,
        }
        own |= {"max_retries": _ATTEMPTS, "request_timeout": _whole(values["params"]["request_timeout"])}
        found |= {f"{EXTRA}{role}.{name}": own[name] for name in MODEL_OWN_KEYS}
    return found


def _extras(job: Job, entry: Entry) -> Tree:
    """Return what the task's extras are; one that neither user nor vendor has set is not there at all."""
    return {
        f"{EXTRA}{name}": value
        for name, value in job.extras.items()
        if value is not None or (name in entry.extra and not isinstance(entry.extra[name], dict))
    }


def _limit(job: Job) -> int | None:
    """Return the limit as a number of items; raises UsageError for a share of what nobody has counted."""
    limit = job.params["limit_samples"]
    if limit is None or limit >= 1:
        return None if limit is None else int(limit)
    items = job.expected_items()
    if items is None:
        raise UsageError(
            "the vendor's command takes a number of items, and how many a share is cannot be told",
            where=f"params.limit_samples: {limit}",
            next_step="give a whole number",
        )
    return items


def _whole(value: Any) -> Any:
    """Return 86400 for 86400.0: some programs take whole seconds only."""
    return int(value) if isinstance(value, float) and value >= 1 and value.is_integer() else value
