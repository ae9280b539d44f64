"""Which processes a task starts: each phase once per start of the harness."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from evaldock_entrypoints.contract.framework import Phase
from evaldock_entrypoints.run_eval.job import Job


@dataclass(frozen=True, kw_only=True)
class Step:
    """A phase in one start of the harness. job: as this start sees it."""

    phase: Phase
    job: Job

    @property
    def name(self) -> str:
        """The name by which state.json remembers it."""
        return self.phase.name if self.job.starts == 1 else f"{self.phase.name}-{self.job.repeat}"


def steps_of(job: Job) -> list[Step]:
    """Return all steps: every start goes through a phase before any goes on to the next."""
    return [
        Step(phase=phase, job=replace(job, repeat=repeat))
        for phase in job.phases
        for repeat in range(job.starts)
    ]


def pending(job: Job, chosen: Collection[str], finished: Collection[str]) -> list[Step]:
    """Return the steps of the chosen phases that must run. finished: names of steps.

    What asks the endpoint is proven by the adapter's last session: while one such step is left, those that
    ran in an earlier session run again, from the store, and so does what rests on them.
    """
    steps = steps_of(job)
    names = [step.name for step in steps]
    asking = [step.name for step in steps if step.phase.network == "endpoint"]
    is_asked = set(asking) <= set(finished)
    kept = names if is_asked else names[: names.index(asking[0])]
    done = set(finished) & set(kept)
    return [step for step in steps if step.phase.name in chosen and step.name not in done]
