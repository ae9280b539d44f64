"""Tasks that a harness knows and framework.yml does not declare, from a list in the harness's folder.

The list is a zstd-compressed text of lines `NAME<TAB>KIND<TAB>DATASET,DATASET…`, sorted by name.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import zstandard

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import DataSource, Framework, Task

_MAX_BYTES = 32 * 1024**2
_UNKNOWN_LICENSE = "unknown"


def undeclared_task(framework: Framework, name: str, listing: Path) -> Task | None:
    """Return what is known of a task by its bare name, None where the list has none of that name.

    Raises HarnessError where the list cannot be read.
    """
    if framework.undeclared is None:
        return None
    line = undeclared_names(listing).get(name)
    if line is None:
        return None
    kind, _, datasets = line.partition("\t")
    template = framework.undeclared.kinds[kind]
    return Task(
        name=name,
        description=f"undeclared: evaldock knows only that {framework.name} has it",
        endpoint_types=template.endpoint_types,
        capabilities=template.capabilities,
        data=[
            DataSource(dataset=dataset, config="*", split="*", license=_UNKNOWN_LICENSE)
            for dataset in datasets.split(",")
            if dataset
        ],
        phases=template.phases,
        note=framework.undeclared.note,
    )


@functools.cache
def undeclared_names(listing: Path) -> Mapping[str, str]:
    """Return name → the rest of its line; raises HarnessError."""
    try:
        text = zstandard.decompress(listing.read_bytes(), max_output_size=_MAX_BYTES).decode()
        return dict(line.split("\t", 1) for line in text.splitlines())
    except (OSError, ValueError, zstandard.ZstdError) as error:
        raise HarnessError(
            f"the list of the harness's further tasks cannot be read: {error}",
            where=str(listing),
            next_step="build the image again, or install evaldock again",
        ) from error
