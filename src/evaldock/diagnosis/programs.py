"""Programs beside the engine: what builds images, and the schedulers of clusters."""

import re
from collections.abc import Iterator, Sequence

from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, note, ok
from evaldock.diagnosis.packages import packages
from evaldock.diagnosis.tools import ask
from evaldock.supply.build import BUILD_PACKAGES


def findings(_facts: Facts) -> Iterator[Finding]:
    """Look at the tools of `evaldock build`, at Slurm and at Kubernetes."""
    yield packages("build tools", BUILD_PACKAGES)
    yield scheduler("Slurm", ["sbatch", "--version"])
    yield scheduler("Kubernetes", ["kubectl", "version", "--client"])


def scheduler(what: str, argv: Sequence[str]) -> Finding:
    """Return whether a cluster's command is here, and its version."""
    answer = ask(argv)
    if answer is None:
        return note(what, f"no {argv[0]} here")
    number = re.search(r"\bv?\d+\.\d+[\w.+-]*", answer.output)
    if answer.code != 0 or not number:
        return note(what, f"{argv[0]} fails: {answer.first_line}")
    return ok(what, f"{argv[0]} {number[0]}")
