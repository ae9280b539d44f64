"""Phase two: bfcl's own scoring, which evaluates what the model wrote, without network: score.py JOB.json."""

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bfcl_eval.__main__ import cli
from bfcl_eval.eval_checker import eval_runner
from model import end_when_told, read_data_from, register

SELECTION, SCORE = "selection.json", "score.json"


def score(job: dict[str, Any]) -> None:
    """Write bfcl's score files below score/, and score/score.json last of all."""
    native = Path(job["native_dir"])
    folder = native / "score"
    clear(folder)
    selection = json.loads((native / SELECTION).read_text(encoding="utf-8"))
    # bfcl's tables count what was not asked as 0, and it cannot make them of a single case.
    eval_runner.generate_leaderboard_csv = lambda *_: None
    argv = ["evaluate", "--model", register(selection["model_id"], selection["mode"])]
    argv += ["--test-category", ",".join(selection["categories"])]
    argv += ["--result-dir", str(native / "result"), "--score-dir", str(folder)]
    cli([*argv, "--partial-eval"] if selection["limited"] else argv, standalone_mode=False)
    (folder / SCORE).write_text(json.dumps({"version": version("bfcl-eval")}) + "\n", encoding="utf-8")


def clear(folder: Path) -> None:
    """Remove what an earlier start left. The folder itself stays: in a sandbox it is a mount."""
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: score.py JOB.json")
    end_when_told()
    job_ = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    read_data_from(Path(job_["data_dir"]))
    score(job_)
