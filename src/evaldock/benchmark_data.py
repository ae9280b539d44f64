"""Benchmark data that no image carries: which a document's tasks need, and fetching it from a hub."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from evaldock.document import Written
from evaldock.registry import Registry
from evaldock.supply.paths import cache_home
from evaldock_entrypoints.contract.errors import PinError, UsageError
from evaldock_entrypoints.contract.framework import Task
from evaldock_entrypoints.contract.layers import Merged
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.data.hub import DEFAULT_REVISION, Hub
from evaldock_entrypoints.data.manifest import MANIFEST, read_manifest, sha256_of

Report = Callable[[str], None]

USUAL_TOKEN_NAME = "HF_TOKEN"


def not_in_image(task: Task) -> list[str]:
    """Return the data sets that a task needs and its image lacks."""
    return list(dict.fromkeys(source.dataset for source in task.data if not source.in_image))


def with_fetched_data(
    written: Written, registry: Registry, environ: Mapping[str, str], report: Report
) -> Written:
    """Return the document with the folder of what its hub had to give; raises what fetching raises.

    Nothing is fetched without `data.hf_endpoint`, with `data.offline`, or where data.path holds it already.
    """
    data = written.document.data
    if data.hf_endpoint is None or data.offline:
        return written
    folder = Path(data.path) if data.path else cache_folder(data.hf_endpoint)
    tasks = (registry.find_task(request.name)[1] for request in written.document.evaluation.tasks)
    missing = dict.fromkeys(name for task in tasks for name in not_in_image(task))
    if not missing:
        return written
    hub = _hub(data.hf_endpoint, data.hf_token_name, environ)
    for name in missing:
        if not (folder / name).is_dir():
            hub.fetch(name, folder, report=report)
    return _with_path(written, str(folder))


def cache_folder(address: str) -> Path:
    """Return where data of a hub is kept for all runs of this user."""
    return cache_home() / "data" / hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:16]


def pull(
    names: list[str],
    folder: Path,
    *,
    registry: Registry,
    address: str,
    token_name: str,
    revision: str = DEFAULT_REVISION,
    report: Report,
) -> list[str]:
    """Fetch data sets by their names, or those of tasks; return the names of what was fetched.

    Raises UsageError for a task whose data its image carries, and what Hub.fetch raises.
    """
    datasets = list(dict.fromkeys(name for wanted in names for name in _datasets(wanted, registry)))
    hub = _hub(address, token_name, os.environ)
    for name in datasets:
        hub.fetch(name, folder, revision=revision, report=report)
    return datasets


def verify(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (path, what is wrong) of a folder's data; raises UsageError where it has no manifest.

    What no hash stands for is told too: nobody could say whether it changed.
    """
    entries = read_manifest(folder)
    if not entries:
        raise UsageError(
            f"{folder} has no {MANIFEST}",
            next_step="evaldock data pull writes one; without, every run records the hashes it finds",
        )
    for entry in entries:
        path = folder / entry["path"]
        if not path.is_file():
            yield entry["path"], "missing"
        elif sha256_of(path) != entry["sha256"]:
            yield entry["path"], "changed"
    known = {entry["path"] for entry in entries}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and name not in known and name != MANIFEST:
            yield name, "not in the manifest"


def refuse_changed(folder: Path) -> int:
    """Return how many files were found as the manifest says; raises PinError naming those that were not."""
    wrong = list(verify(folder))
    if wrong:
        raise PinError(
            f"{len(wrong)} files are not as {MANIFEST} says: "
            + ", ".join(f"{path} ({why})" for path, why in wrong[:5]),
            where=str(folder),
            next_step="fetch them again: evaldock data pull",
        )
    return len(read_manifest(folder))


def _datasets(wanted: str, registry: Registry) -> list[str]:
    if "/" in wanted:
        return [wanted]
    task = registry.find_task(wanted)[1]
    found = not_in_image(task)
    if not found:
        raise UsageError(
            f'the image of "{wanted}" carries its data', next_step="name a data set, OWNER/NAME, to fetch one"
        )
    return found


def _hub(address: str, token_name: str, environ: Mapping[str, str]) -> Hub:
    """Return the hub; most data needs no token, so only a variable that someone named has to be set."""
    if not address.startswith(("http://", "https://")):
        raise UsageError(
            f'the address of the hub, "{address}", does not begin with https:// or http://',
            where="data.hf_endpoint, --hf-endpoint or HF_ENDPOINT",
            next_step=f"write https://{address}",
        )
    if token_name != USUAL_TOKEN_NAME and not environ.get(token_name):
        raise UsageError(
            f"the variable {token_name} is not set, and the hub's token is to stand in it",
            where="data.hf_token_name or --hf-token-name",
            next_step=f"export {token_name}=…",
        )
    return Hub(address=address, token=key_value(token_name, environ) if environ.get(token_name) else None)


def _with_path(written: Written, path: str) -> Written:
    data = {**written.merged.tree.get("data", {}), "path": path}
    merged = Merged(tree={**written.merged.tree, "data": data}, origins=written.merged.origins)
    document = written.document
    return Written(
        document=document.model_copy(update={"data": document.data.model_copy(update={"path": path})}),
        merged=merged,
    )
