"""All checks of one image, in order."""

import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evaldock.conformance.alone import check_alone
from evaldock.conformance.asking import Asker
from evaldock.conformance.commands import CHECKS, check_entrypoint
from evaldock.conformance.image import holding, pin_of
from evaldock.conformance.run_checks import (
    check_completeness,
    check_read_only,
    check_redaction,
    check_results,
    check_seal,
    check_user,
    questions_of,
    window_of_one,
)
from evaldock.conformance.subject import read_subject
from evaldock.conformance.trial import KEY_NAME, MODEL, Trial
from evaldock.conformance.verdict import Verdict, failed, not_applicable
from evaldock.plan import EngineName
from evaldock.registry import load_registry
from evaldock.supply.steps import Report
from evaldock.testkit.fake_endpoint import running_endpoint
from evaldock_entrypoints.contract.errors import HarnessError

_AT_ONCE = 4  # containers
_OF_COMMANDS = ("catalogue", "describe", "dry_run", "usage_errors", "dead_endpoint")
_OF_RUNS = ("results", "completeness", "sealed", "read_only_root", "any_uid", "sigterm", "redaction")


def conformance(
    image: str,
    *,
    folder: Path,
    report: Report,
    task: str | None = None,
    limit: int,
    answers: Sequence[Path] = (),
    engine: EngineName = "auto",
) -> list[Verdict]:
    """Try every promise of the contract on an image; what the runs leave behind stays in folder.

    image: a name or alias of the catalogue, or a reference. task: None for the first whose data is in the
    image. answers: tables for the fake endpoint, which answers anything else with filler.
    Raises UsageError, PinError and ExecutionError where the image cannot be tried at all.
    """
    catalogue = load_registry()
    pin = pin_of(image, catalogue)
    asked = folder / "asked"
    asked.mkdir(parents=True)
    with holding(pin, engine, folder, report) as opened:
        asker = Asker(engine=opened, image=pin, folder=asked)
        try:
            subject = read_subject(asker, task)
        except HarnessError as error:
            return [
                check_entrypoint(asker),
                failed("catalogue", error.message),
                *_untried(_OF_COMMANDS[1:], _OF_RUNS),
            ]
        entrypoint = check_entrypoint(asker)
        if entrypoint.state == "failed":
            return [entrypoint, check_user(subject.user), *_untried(_OF_COMMANDS, _OF_RUNS)]
        canary = f"canary-{secrets.token_hex(12)}"
        served = running_endpoint(answers=answers, model=MODEL, api_key_name=KEY_NAME, env={KEY_NAME: canary})
        with served as endpoint:
            trial = Trial(
                subject=subject,
                catalogue=catalogue,
                engine=engine,
                endpoint=endpoint,
                folder=folder,
                limit=limit,
                report=report,
                canary=canary,
            )
            return [entrypoint, check_user(subject.user), *_tried(asker, trial)]


def _tried(asker: Asker, trial: Trial) -> Iterator[Verdict]:
    trial.report(f"trying {trial.subject.name} with {trial.limit} items against the fake endpoint")
    with ThreadPoolExecutor(
        _AT_ONCE
    ) as pool:  # they need no endpoint; the run needs this thread, for signals
        of_commands = [pool.submit(check, asker, trial) for check in CHECKS]
        whole = trial.run()
        yield from (verdict.result() for verdict in of_commands)
    yield check_results(trial, whole)
    yield check_seal(whole)
    yield check_read_only(whole)
    probes = [seen["body"] for seen in trial.endpoint.last_requests()]
    window = window_of_one(questions_of(whole), probes)
    runs = [whole]
    if window is None:
        yield not_applicable("completeness", "the harness asked nothing")
    else:
        completeness, disturbed = check_completeness(trial, window)
        runs.append(disturbed)
        yield completeness
    yield from check_alone(asker, trial, window)
    yield check_redaction(trial, [line for ran in runs for line in ran.command_lines])


def _untried(*checks: Sequence[str]) -> Iterator[Verdict]:
    names = (name for group in checks for name in group)
    return (not_applicable(name, "not tried, for an earlier check failed") for name in names)
