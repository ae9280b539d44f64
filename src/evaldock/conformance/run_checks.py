"""Checks of what a run through `evaldock run`'s own machinery leaves behind."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from evaldock.analysis.results_file import read_task
from evaldock.conformance.canary import exchanges, found_in
from evaldock.conformance.trial import Ran, Trial
from evaldock.conformance.verdict import Verdict, failed, judged, not_applicable, ok
from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock.untrusted_files import UnreadableFileError, iterate_zst_lines
from evaldock_entrypoints.contract.adapter import EXCHANGES
from evaldock_entrypoints.contract.errors import ExitCode
from evaldock_entrypoints.contract.results import Sample

_NO_SCORE = (ExitCode.HARNESS, ExitCode.INCOMPLETE)
_READ_ONLY = b"Read-only file system"
_WINDOW = 32  # characters of a body that tell it from others


def check_results(trial: Trial, ran: Ran) -> Verdict:
    """Judge the run that nothing disturbed: whole, readable, and asked for."""
    if not ran.is_complete:
        return failed("results", ran.said)
    record = read_task(ran.end.folder)
    counts = record.completeness
    if record.status != "complete" or record.problems or counts is None:
        return failed("results", f"results.yml: {'; '.join(record.problems) or record.status}")
    try:
        samples = [Sample.model_validate_json(line) for line in _samples(ran.end.folder)]
    except (ValidationError, UnreadableFileError) as error:
        return failed("results", f"samples.jsonl.zst: {error}")
    keys = {(sample.id, sample.repeat) for sample in samples}
    answered = answers_given(trial.endpoint)
    stored = len(questions_of(ran))
    seen = f"{counts.scored} of {counts.expected} scored, {len(keys)} samples, {answered} answers given"
    is_whole = counts.expected == len(samples) == len(keys) > 0 and record.metrics
    if not is_whole or not 0 < min(counts.scored, stored) <= answered:
        return failed("results", f"{seen}, {stored} exchanges stored, {len(record.metrics)} metrics")
    return ok("results", f"{seen}; {', '.join(sorted({metric.name for metric in record.metrics}))}")


def _samples(folder: Path) -> Iterator[bytes]:
    return iterate_zst_lines(folder / "samples.jsonl.zst")


def answers_given(endpoint: RunningEndpoint) -> int:
    """Return how many questions the endpoint has answered, its own probes aside."""
    stats = endpoint.stats()
    known = sum(kind["right"] + kind["wrong"] for kind in stats["answers"].values())
    return known + stats["unmatched"] + stats["no_choice"] + stats["routes"].get("embeddings", 0)


def check_completeness(trial: Trial, window: str) -> tuple[Verdict, Ran]:
    """Run with one item that the endpoint refuses for good; return the verdict and how the run ended."""
    trial.endpoint.reset([{"match": {"body_contains": window}, "action": "status", "status": 500}])
    ran = trial.run()
    refused = trial.endpoint.stats()["faults"].get("status", 0)
    if not refused:
        return failed("completeness", "a second run does not ask the same questions again"), ran
    is_honest = ran.end.exit_code in _NO_SCORE and not ran.reports_scores and ran.end.status != "complete"
    return judged("completeness", is_honest, f"an item refused for good: {ran.said}"), ran


def questions_of(ran: Ran) -> list[str]:
    """Return what the harness asked, as the adapter stored it, which leaves out probes of the endpoint."""
    asked = exchanges(ran.end.folder / EXCHANGES)
    return [request.decode(errors="replace") for request, _ in asked]


def window_of_one(questions: Sequence[str], others: Sequence[str] = ()) -> str | None:
    """Return a part of one question that as few others as possible hold, None where none was asked."""
    if not questions:
        return None
    last, asked = questions[-1], {*questions, *others}
    ends = range(max(1, len(last) - _WINDOW + 1))
    windows = dict.fromkeys(last[start : start + _WINDOW] for start in ends)
    return min(windows, key=lambda window: sum(window in body for body in asked))


def check_seal(ran: Ran) -> Verdict:
    """Read what the probe inside the harness's container found."""
    provenance = ran.results.get("provenance")
    network = provenance.get("network") if isinstance(provenance, dict) else None
    if not isinstance(network, dict):
        return not_applicable("sealed", "no phase got so far that the probe ran")
    proof = network.get("proof")
    words = "; ".join(map(str, proof)) if isinstance(proof, list) else "no proof"
    return judged("sealed", network.get("sealed") is True and bool(proof), words)


def check_read_only(ran: Ran) -> Verdict:
    """Judge whether the harness, whose container has a read-only root, wanted to write there."""
    refused = [path.name for path in _logs(ran) if _READ_ONLY in path.read_bytes()]
    if refused:
        return failed(
            "read_only_root", f"writes to the image's own folders are refused: {', '.join(refused)}"
        )
    if not ran.is_complete:
        return not_applicable("read_only_root", "the run did not get to its end")
    return ok("read_only_root", "the run got to its end on one")


def _logs(ran: Ran) -> list[Path]:
    folder = ran.end.folder / "logs"
    return [path for path in sorted(folder.glob("*.log")) if path.is_file() and not path.is_symlink()]


def check_user(user: str) -> Verdict:
    """Judge as whom the image runs where nobody says as whom."""
    is_root = user.partition(":")[0] in ("", "0", "root")
    return judged("non_root", not is_root, f"the image's user: {user or 'none, so root'}")


def check_redaction(trial: Trial, command_lines: Sequence[str]) -> Verdict:
    """Look for the endpoint's key in all that is left behind, and in command lines while runs lasted."""
    hits = [str(Path(hit).relative_to(trial.folder)) for hit in found_in(trial.folder, trial.canary)]
    if hits or command_lines:
        return failed("redaction", f"the key stands in {', '.join([*hits, *command_lines][:5])}")
    files = sum(1 for path in trial.folder.rglob("*") if path.is_file())
    return ok("redaction", f"the key stands in none of {files} files and in no command line")
