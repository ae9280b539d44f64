"""Print an answer table for a sub-task of RULER, inside the image: ruler_answers.py NAME TOKENS SAMPLES."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

TAIL = 200  # characters: the question, which names what is asked for


def main(subtask: str, tokens: int, samples: int) -> None:
    os.environ |= {"NLTK_DATA": "/opt/data/nltk", "TIKTOKEN_CACHE_DIR": "/opt/data/tiktoken"}
    sys.path.insert(0, "/opt/harness-files")
    run_ruler = importlib.import_module("run_ruler")
    run = {"max_seq_length": tokens, "limit_samples": samples, "data_seed": 42}
    settings, folder = run_ruler.subtask_settings()[subtask], Path("/tmp/data")
    argv = run_ruler.prepare_argv(run, subtask, settings, ("openai", "cl100k_base"), folder)
    subprocess.run(argv, check=True, stdout=sys.stderr)
    for line in (folder / subtask / "validation.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        answers = {"right": ", ".join(row["outputs"]), "wrong": "I do not know."}
        item = {"id": f"{subtask}/{row['index']}", "match": row["input"][-TAIL:], "kind": "generate"}
        print(json.dumps({**item, **answers}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
