"""Start lm-eval on a structured configuration: run_lm_eval.py RUN_JSON.

lm-eval itself is not changed. What this adds: task files for data without a training split, an index of
the wanted task's files alone, refusals of what would otherwise go wrong silently, and what is asked again.
"""

import functools
import json
import os
import shutil
import sys
import uuid
from pathlib import Path

import yaml
from task_files import Config, RefusedError, read_only_these, task_files

USAGE = 2
ATTEMPTS = 3  # as lm-eval counts: the first one too


def tokenizer_args(endpoint_type: str, given: Config, *, chat_template: bool) -> Config:
    """Return lm-eval's tokenizer arguments of this endpoint type; raises RefusedError."""
    tokenizer, backend = given.get("tokenizer"), given.get("tokenizer_backend")
    if endpoint_type == "chat":
        return {}
    if backend is None:
        backend = (
            "huggingface" if tokenizer else "remote" if endpoint_type == "completions_logprob" else "none"
        )
    if chat_template and backend != "huggingface":
        raise RefusedError(
            f"apply_chat_template at endpoint type {endpoint_type} needs the model's tokenizer: set "
            "params.extra.tokenizer to its folder, or use endpoint type chat"
        )
    return {**given, "tokenizer_backend": backend}


def complete(run: Config) -> Config:
    """Return lm-eval's own configuration for this run; raises RefusedError."""
    config: Config = run["config"]
    given = {key: value for key, value in config["model_args"].items() if key.startswith("tokenize")}
    others = {key: value for key, value in config["model_args"].items() if key not in given}
    chat_template = bool(config.get("apply_chat_template"))
    config["model_args"] = others | tokenizer_args(run["endpoint_type"], given, chat_template=chat_template)
    config["model_args"]["max_retries"] = ATTEMPTS
    if "seed" in others:  # that of sampling; the choice of few-shot examples is the same in every repeat
        config["model_args"]["seed"] += run["repeat"]
    # Keeps lm-eval from asking the hub who owns HF_TOKEN before it starts.
    config["hf_hub_log_args"] = {"hub_results_org": "none"}
    # lm-eval copies it into its results file, which proves whose results they are.
    config["metadata"] = {"evaldock_run": run_id(run.get("answers_of"))}
    return config


def run_id(answers_of: str | None) -> str:
    """Return a new id, or that of the run whose answers are scored. answers_of: that run's configuration."""
    if answers_of is None:
        return uuid.uuid4().hex
    return str(yaml.safe_load(Path(answers_of).read_text(encoding="utf-8"))["metadata"]["evaldock_run"])


def ask_again_only_without_answer() -> None:
    """Let lm-eval ask again only where no answer came; by itself it does after any exception, even a 400.

    An HTTP error is final: the adapter answers with one after all the attempts that params allow. An answer
    that lm-eval cannot read is final too: it counts as delivered, so asking again would draw another one.
    Left are a connection that broke and a wait that was too long, as for a turn under a rate limit.
    """
    import aiohttp
    import requests
    import tenacity
    from lm_eval.models import api_models

    unanswered = (
        *(TimeoutError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError),
        *(requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError),
    )
    only = tenacity.retry_if_exception_type(unanswered)
    api_models.retry = functools.partial(tenacity.retry, retry=only)


def main(path: Path) -> None:
    """Complete the configuration and hand over to lm-eval's own command line."""
    run = json.loads(path.read_text(encoding="utf-8"))
    try:
        config = complete(run)
        files = task_files(config["tasks"][0], config.get("num_fewshot"), path.parent / "overrides")
    except RefusedError as error:
        sys.stderr.write(f"run_lm_eval: refused: {error}\n")
        sys.exit(USAGE)
    final = path.with_suffix(".yaml")
    final.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    empty(Path(config["output_path"]), but="work")
    # results.py reads the log from here on.
    print(f"run_lm_eval: run {config['metadata']['evaldock_run']}", flush=True)  # noqa: T201
    from lm_eval.__main__ import cli_evaluate

    read_only_these(files)
    ask_again_only_without_answer()
    sys.argv = ["lm_eval", "run", "--config", os.fspath(final)]
    cli_evaluate()


def empty(folder: Path, *, but: str) -> None:
    """Remove what an earlier start left."""
    for found in folder.iterdir() if folder.is_dir() else ():
        if found.is_dir() and not found.is_symlink():
            if found.name != but:
                shutil.rmtree(found)
        else:
            found.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
