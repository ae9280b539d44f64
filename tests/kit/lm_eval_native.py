"""lm-eval as its authors ship it: installed from the harness's lock file, run without any code of ours."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uv
import yaml

from evaldock.supply.index import read_index_settings
from evaldock.supply.paths import checkout_root
from evaldock.supply.secrets import uv_environment

MODELS = {
    "chat": ("local-chat-completions", "chat/completions"),
    "completions": ("local-completions", "completions"),
    "completions_logprob": ("local-completions", "completions"),
}
SPLITS = ("train", "validation", "test")

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NativeRun:
    """What plain lm-eval left. results: by task or group."""

    results: dict[str, Record]
    folder: Path


def install(folder: Path) -> Path:
    """Make an environment of the harness's lock file; return its lm_eval."""
    lock = checkout_root() / "harnesses" / "lm-eval" / "requirements.lock"
    binary = uv.find_uv_bin()
    venv = folder / "venv"
    subprocess.run([binary, "venv", "--quiet", "--python", "3.11", str(venv)], check=True, timeout=60)
    argv = [binary, "pip", "install", "--quiet", "--require-hashes", "--python", str(venv / "bin" / "python")]
    environment = os.environ | uv_environment(read_index_settings(), folder)
    subprocess.run([*argv, "-r", str(lock)], check=True, timeout=600, env=environment)
    return venv / "bin" / "lm_eval"


def stand_in(data: Path) -> None:
    """Give every data set the splits that it lacks, each a copy of one it has.

    lm-eval's task files name training splits, and it ends where one is missing, even at 0 shots. So it
    starts unchanged, and what it scores is as it was.
    """
    for card in data.rglob("README.md"):
        text = card.read_text(encoding="utf-8")
        if not text.startswith("---\n"):
            continue
        header = yaml.safe_load(text.split("---\n")[1])
        for config in header["configs"]:
            files = config["data_files"]
            lacking = set(SPLITS) - {file["split"] for file in files}
            files += [{"split": split, "path": files[0]["path"]} for split in sorted(lacking)]
        card.write_text(f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n", encoding="utf-8")


def run(
    program: Path,
    data: Path,
    tasks: list[str],
    *,
    url: str,
    endpoint_type: str,
    num_fewshot: int | None,
    limit: int,
    max_gen_toks: int,
    out: Path,
) -> NativeRun:
    """Run plain `lm_eval run` on tasks that are asked in one way."""
    model, route = MODELS[endpoint_type]
    arguments = f"model=fake-model,base_url={url}/v1/{route},num_concurrent=8,seed=42"
    arguments += ",tokenizer_backend=remote" if endpoint_type == "completions_logprob" else ""
    arguments += ",tokenizer_backend=none" if endpoint_type == "completions" else ""
    argv = [str(program), "run", "--model", model, "--model_args", arguments, "--tasks", ",".join(tasks)]
    argv += ["--limit", str(limit), "--seed", "42", "--output_path", str(out), "--log_samples"]
    if endpoint_type != "completions_logprob":
        argv += ["--gen_kwargs", f"temperature=0.0,top_p=1.0,max_gen_toks={max_gen_toks}"]
        argv += ["--confirm_run_unsafe_code"]  # of the fake endpoint's table
    argv += ["--apply_chat_template"] if endpoint_type == "chat" else []
    argv += ["--num_fewshot", str(num_fewshot)] if num_fewshot is not None else []
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(out / "hf"),
        "NLTK_DATA": str(data / "nltk_data"),
        "OPENAI_API_KEY": "none",
    }
    done = subprocess.run(
        argv, cwd=data, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = out.glob("*/results_*.json")
    return NativeRun(results=json.loads(file.read_text(encoding="utf-8"))["results"], folder=file.parent)


def samples(folder: Path, leaf: str) -> dict[tuple[int, str], list[Any]]:
    """Return by item and filter what lm-eval logged of it: prompt, answers, what became of them, scores."""
    (file,) = folder.glob(f"samples_{leaf}_2*.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    kept = ("doc_hash", "prompt_hash", "target_hash", "resps", "filtered_resps")
    return {
        (line["doc_id"], line["filter"]): [line[name] for name in (*kept, *line["metrics"])] for line in lines
    }


def leaves(folder: Path) -> list[str]:
    """Return the tasks with items of their own in a folder of lm-eval's output."""
    (file,) = folder.glob("results_*.json")
    return list(json.loads(file.read_text(encoding="utf-8"))["n-samples"])
