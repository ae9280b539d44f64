"""Phase two: check every answer with if-verifiable, without network: score.py JOB.json."""

import json
import logging
import random
import sys
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any

import langdetect
import nltk
from records import GENERATIONS, SCORES, SUMMARY, Record, read_lines, write_json, write_lines

# if_verifiable imports datasets for loading prompts from the hub, which nothing here does, and asks NLTK to
# download what is missing when it is imported.
sys.modules["datasets"] = types.ModuleType("datasets")
sys.modules["datasets"].__dict__["load_dataset"] = None
nltk.download = lambda *_, **__: False

from if_verifiable.api import evaluate_output_for_sample  # noqa: E402
from if_verifiable.types import IFBenchSample  # noqa: E402

EXIT_HARNESS = 4
MODES = ("strict", "loose")


class Undetected(logging.Handler):
    """Counts answers whose language langdetect cannot tell; if-verifiable takes it for the right one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "Unable to detect language" in str(record.msg)


def score(job: dict[str, Any]) -> None:
    """Write scores.jsonl, then score.json."""
    native = Path(job["native_dir"])
    finished = native / SUMMARY
    finished.unlink(missing_ok=True)
    undetected = Undetected()
    logging.basicConfig(handlers=[undetected])
    prompts = {str(row["key"]): row for row in read_lines(Path(job["prompt_file"]))}
    answers = [record for record in read_lines(native / GENERATIONS) if "error" not in record]
    scores = [judge(job["benchmark"], prompts[answer["id"]], answer) for answer in answers]
    write_lines(native / SCORES, scores)
    summary = {"version": version("if-verifiable"), "language_undetected": undetected.count}
    write_json(finished, {**summary, "metrics": metrics_of(scores)})


def judge(benchmark: str, row: Record, answer: Record) -> Record:
    """Return which instructions the answer follows; an error where a check itself fails."""
    record = {"id": answer["id"], "repeat": answer["repeat"], "instructions": row["instruction_id_list"]}
    random.seed(answer["id"])  # a few checks draw what the prompt's data lack; README.md names them
    sample = IFBenchSample(**row)
    try:
        results, summary = evaluate_output_for_sample(benchmark, sample, answer["response"])
    except Exception as error:  # noqa: BLE001 - whatever a check raises, its answer has no score
        return {**record, "error": {"kind": "harness", "message": f"{type(error).__name__}: {error}"}}
    if not results and summary.binary_loose == 0.0:  # nothing but white space or thoughts follows nothing
        return {**record, **dict.fromkeys(MODES, [False] * len(row["instruction_id_list"]))}
    if [result.instruction_id for result in results] != row["instruction_id_list"]:
        raise ValueError(f"prompt {answer['id']}: if-verifiable left an instruction out")
    return {
        **record,
        "strict": [result.strict_pass for result in results],
        "loose": [result.loose_pass for result in results],
    }


def metrics_of(scores: list[Record]) -> dict[str, float]:
    """Return the four metrics of the paper: share of prompts followed whole, and of instructions followed."""
    scored = [each for each in scores if "error" not in each]
    if not scored:
        return {}
    metrics = {}
    for mode in MODES:
        verdicts = [verdict for each in scored for verdict in each[mode]]
        metrics[f"prompt_level_{mode}_acc"] = sum(all(each[mode]) for each in scored) / len(scored)
        metrics[f"inst_level_{mode}_acc"] = sum(verdicts) / len(verdicts)
    return metrics


def main(job_file: Path) -> int:
    """Return the exit code."""
    langdetect.DetectorFactory.seed = 0  # langdetect draws at random otherwise
    try:
        score(json.loads(job_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(
            f"ifbench: error: {type(error).__name__}: {error}\n  next: check the native folder\n"
        )
        return EXIT_HARNESS
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
