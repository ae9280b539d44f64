"""Write RULER's prompts, ask them and score the answers: run_ruler.py RUN_JSON.

RULER's own programs do the work, unchanged. What this replaces is the program that starts them: it goes
through a shell with the user's values in the text, takes a failure of the writing programs for success and
skips unknown sub-tasks.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SAMPLES = 500  # of each sub-task, RULER's own number
SHORTEST = 4000  # below, RULER looks for ever for a HotpotQA prompt that is short enough
WRITERS = 4  # at a time; those of niah_… take 1 GiB of memory each
USAGE, HARNESS = 2, 4
FOLDERS = ("data", "pred")  # below native/

Run = dict[str, Any]


class RefusedError(Exception):
    """The run would fail, or its score would not mean what it says."""


def package() -> Path:
    """Return the folder of RULER's programs."""
    import long_context_eval

    return Path(str(long_context_eval.__file__)).parent


def subtask_settings() -> dict[str, Run]:
    """Return every sub-task's arguments, prompt template and length of answer, in RULER's order."""
    from long_context_eval.data.synthetic.constants import TASKS

    configured = yaml.safe_load((package() / "synthetic.yaml").read_text(encoding="utf-8"))
    return {name: {**settings, **TASKS[settings["task"]]} for name, settings in configured.items()}


def chosen(wanted: str, known: Sequence[str]) -> list[str]:
    """Return the sub-tasks of "all" or of a list with commas, in RULER's order; raises RefusedError."""
    names = [name.strip() for name in wanted.split(",")]
    unknown = [name for name in names if name not in (*known, "all")]
    if unknown:
        raise RefusedError(f"RULER has no sub-task {unknown[0]!r}; it has {', '.join(known)}")
    return [name for name in known if name in names or "all" in names]


def sample_count(limit: float | None) -> int:
    """Return how many samples of each sub-task a limit leaves; a share is rounded up."""
    if limit is None:
        return SAMPLES
    return min(SAMPLES, math.ceil(SAMPLES * limit) if limit < 1 else int(limit))


def tokenizer(run: Run) -> tuple[str, str]:
    """Return RULER's type and path of the tokenizer that measures prompts; raises RefusedError."""
    folder = run.get("tokenizer")
    if run["tokenizer_type"] == "openai":
        if folder:
            raise RefusedError("params.extra.tokenizer is only read with params.extra.tokenizer_type: hf")
        return "openai", "cl100k_base"
    if not folder:
        raise RefusedError("params.extra.tokenizer_type: hf needs params.extra.tokenizer, a folder")
    return "hf", str(Path(folder).resolve())


def prepare_argv(run: Run, name: str, settings: Run, measure: tuple[str, str], folder: Path) -> list[str]:
    """Return the command that writes the prompts of one sub-task, as RULER's prepare.py makes it."""
    options = {
        "save_dir": folder,
        "save_name": name,
        "subset": "validation",
        "tokenizer_type": measure[0],
        "tokenizer_path": measure[1],
        "max_seq_length": run["max_seq_length"],
        "tokens_to_generate": settings["tokens_to_generate"],
        "num_samples": sample_count(run.get("limit_samples")),
        "random_seed": run["data_seed"],
        **settings["args"],
        "template": settings["template"] + settings["answer_prefix"],
    }
    program = package() / "data/synthetic" / f"{settings['task']}.py"
    return [sys.executable, str(program), *(f"--{key}={value}" for key, value in options.items())]


def ask_argv(run: Run, name: str, native: Path) -> list[str]:
    """Return the command that asks the prompts of one sub-task."""
    options = {
        "data_dir": native / "data",
        "save_dir": native / "pred",
        "task": name,
        "server_type": "generic_oai_server",
        "generic_oai_server_url": run["url"],
        "generic_oai_server_mode": run["mode"],
        "model_name_or_path": run["model"],
        "temperature": run["temperature"],
        "top_p": run["top_p"],
        "random_seed": run.get("seed"),
        "tokens_to_generate": run.get("max_new_tokens"),
        "threads": run["threads"],
        "timeout": int(run["timeout_s"]),
    }
    given = [f"--{key}={value}" for key, value in options.items() if value is not None]
    return [sys.executable, str(HERE / "ask.py"), str(native / "errors.jsonl"), *given]


def score_argv(native: Path) -> list[str]:
    """Return the command that scores all answers."""
    return [sys.executable, str(package() / "eval/evaluate.py"), f"--data_dir={native / 'pred'}"]


def call(argv: Sequence[str]) -> None:
    """Run one of RULER's programs; raises CalledProcessError."""
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def run_all(run: Run, native: Path) -> None:
    """Remove what an earlier start left, then write, ask and score; finished.json comes last."""
    settings = subtask_settings()
    names = chosen(run["subtasks"], list(settings))
    measure = tokenizer(run)
    if run["max_seq_length"] < SHORTEST:
        raise RefusedError(f"params.extra.max_seq_length is {run['max_seq_length']}, below {SHORTEST}")
    for folder in FOLDERS:
        shutil.rmtree(native / folder, ignore_errors=True)
    for file in ("errors.jsonl", "finished.json"):
        (native / file).unlink(missing_ok=True)
    with ThreadPoolExecutor(min(WRITERS, len(os.sched_getaffinity(0)))) as pool:
        commands = [prepare_argv(run, name, settings[name], measure, native / "data") for name in names]
        list(pool.map(call, commands))
    for name in names:
        call(ask_argv(run, name, native))
    call(score_argv(native))
    finished = {
        "version": version("nvidia-long-context-eval"),
        "subtasks": names,
        "samples": sample_count(run.get("limit_samples")),
        "tokenizer": "cl100k_base" if measure[0] == "openai" else "the folder params.extra.tokenizer",
    }
    (native / "finished.json").write_text(json.dumps(finished) + "\n", encoding="utf-8")


def main(path: Path) -> int:
    """Return the exit code."""
    run = json.loads(path.read_text(encoding="utf-8"))
    try:
        run_all(run, Path(run["native"]))
    except RefusedError as error:
        sys.stderr.write(f"run_ruler: refused: {error}\n")
        return USAGE
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"run_ruler: {Path(error.cmd[1]).name} exited with status {error.returncode}\n")
        return HARNESS
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
