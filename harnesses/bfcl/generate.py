"""Phase one: let bfcl ask the endpoint every case once: generate.py JOB.json."""

import json
import math
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bfcl_eval import utils
from bfcl_eval.__main__ import cli
from bfcl_eval.constants import eval_config
from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils
from bfcl_eval.model_handler import base_handler
from bfcl_eval.model_handler import utils as handler_utils
from expressions import evaluator
from model import EndpointHandler, Mode, end_when_told, read_data_from, register

PROMPTING = "_prompting"  # ends the names of the tasks that offer the functions in the prompt
SELECTION = "selection.json"


def generate(job: dict[str, Any]) -> None:
    """Write selection.json and bfcl's result files; nothing is taken over from an earlier start."""
    native = Path(job["native_dir"])
    for left in ("result", "score"):
        shutil.rmtree(native / left, ignore_errors=True)
    mode: Mode = "prompt" if job["task"].endswith(PROMPTING) else "native"
    chosen = choose_all(job)
    write_selection(native, job, mode, chosen)
    confine()
    EndpointHandler.timeout_s = float(job["request_timeout_s"])
    EndpointHandler.sampling = {
        name: job[key]
        for name, key in (("max_tokens", "max_new_tokens"), ("top_p", "top_p"), ("seed", "seed"))
        if job.get(key) is not None
    }
    argv = ["generate", "--model", register(job["model_id"], mode), "--exclude-state-log"]
    argv += ["--temperature", str(job["temperature"]), "--num-threads", str(job["parallelism"])]
    argv += ["--result-dir", str(native / "result"), *which_cases(chosen)]
    cli(argv)


def choose_all(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return for each category of the task its folder in bfcl's output, its size and the ids to ask."""
    chosen = {}
    for category in utils.parse_test_category_argument([job["native_task"]]):
        ids = [entry["id"] for entry in utils.load_dataset_entry(category)]
        chosen[category] = {
            "folder": utils.get_directory_structure_by_category(category),
            "total": len(ids),
            "ids": choose(ids, job.get("limit_samples"), job.get("seed"), job["sampling"]),
        }
    return chosen


def choose(ids: Sequence[str], limit: float | None, seed: int | None, sampling: str) -> list[str]:
    """Return the ids that a limit leaves (a count, or a share below 1 rounded up), in their own order."""
    if limit is None:
        return list(ids)
    count = min(len(ids), math.ceil(len(ids) * limit) if limit < 1 else int(limit))
    if sampling == "head":
        return list(ids[:count])
    wanted = set(random.Random(seed).sample(sorted(ids), count))
    return [case for case in ids if case in wanted]


def write_selection(native: Path, job: dict[str, Any], mode: Mode, chosen: dict[str, dict[str, Any]]) -> None:
    """Write what is asked, for the phase that scores and for results.py."""
    limited = any(len(one["ids"]) < one["total"] for one in chosen.values())
    how = f"seed {job.get('seed')}" if job["sampling"] == "seeded" else "the first ones"
    notes = [f"limit_samples {job['limit_samples']} of each category: {how}"] if limited else []
    selection = {"mode": mode, "model_id": job["model_id"], "limited": limited, "notes": notes}
    (native / SELECTION).write_text(
        json.dumps({**selection, "categories": chosen}, indent=1) + "\n", encoding="utf-8"
    )


def which_cases(chosen: dict[str, dict[str, Any]]) -> list[str]:
    """Return the arguments by which bfcl asks these cases; a choice of cases it reads from a file."""
    if all(len(one["ids"]) == one["total"] for one in chosen.values()):
        return ["--test-category", ",".join(chosen)]
    ids = {category: one["ids"] for category, one in chosen.items()}
    eval_config.TEST_IDS_TO_GENERATE_PATH.write_text(json.dumps(ids), encoding="utf-8")
    return ["--run-ids"]


def confine() -> None:
    """Put our evaluation of calls in the place of eval, and keep conversations out of the log."""
    multi_turn_utils.eval = evaluator(vars(multi_turn_utils))
    handler_utils.eval = evaluator({})
    base_handler.print = lambda *_: None  # a line for every step of every conversation


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: generate.py JOB.json")
    end_when_told()
    job_ = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    read_data_from(Path(job_["data_dir"]))
    generate(job_)
