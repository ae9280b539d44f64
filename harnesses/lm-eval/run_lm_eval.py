"""Start lm-eval on a structured configuration: run_lm_eval.py RUN_JSON.

lm-eval itself is not changed. What this adds: task files for data without a training split, an index of
the wanted task's folder alone, refusals of what would otherwise go wrong silently, and what is asked again.
"""

import functools
import json
import os
import sys
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
USAGE = 2
ATTEMPTS = 3  # as lm-eval counts: the first one too

Config = dict[str, Any]


class RefusedError(Exception):
    """The run would fail, or its score would not mean what it says."""


@dataclass(frozen=True, kw_only=True)
class PackagedTask:
    """One task file of lm-eval."""

    file: Path
    config: Config

    @property
    def name(self) -> str:
        return str(self.config["task"])

    @property
    def shots_split(self) -> str | None:
        """The split that few-shot examples come from; None where the task file holds them."""
        fewshot = self.config.get("fewshot_config") or {}
        if "samples" in fewshot:
            return None
        return self.config.get("fewshot_split") or fewshot.get("split") or self.config.get("training_split")


def tasks_root() -> Path:
    """Return lm-eval's folder of task files."""
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent


def packaged_tasks(path: Path) -> Iterator[PackagedTask]:
    """Yield the tasks of a file, or of every file of a group's folder."""
    from lm_eval.tasks._yaml_loader import load_yaml

    for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
        config = load_yaml(file, resolve_func=False)
        if isinstance(config.get("task"), str) and "dataset_path" in config:
            yield PackagedTask(file=file, config=config)


@functools.cache
def splits_of(dataset: str, config: str | None) -> frozenset[str]:
    """Return the splits that the data at hand has."""
    import datasets

    return frozenset(datasets.get_dataset_split_names(dataset, config))


def override(
    task: PackagedTask, present: Collection[str], shots: int | None, scored_instead: Collection[str]
) -> Config:
    """Return what must change for data of the `present` splits, empty if nothing; raises RefusedError."""
    config = task.config
    missing = [key for key in SPLITS if config.get(key) is not None and config[key] not in present]
    wanted = config.get("num_fewshot", 0) if shots is None else shots
    if wanted and task.shots_split is not None and task.shots_split not in present:
        raise RefusedError(
            f'{task.name}: {wanted} few-shot examples are wanted from the split "{task.shots_split}", '
            f"and the data of {config['dataset_path']} has {sorted(present)}; set num_fewshot: 0 or mount it"
        )
    if "test_split" in missing and "test_split" not in scored_instead:
        raise RefusedError(
            f"{task.name}: the data of {config['dataset_path']} lacks the split that is scored"
        )
    changes = dict.fromkeys(missing)
    if "fewshot_split" in missing:
        changes["fewshot_config"] = None
    return changes


def write_overrides(config: Config, folder: Path) -> list[str]:
    """Write a task file of the same name for every task that needs one; return the folders to index."""
    entry = yaml.safe_load((HERE / "tasks.yml").read_text(encoding="utf-8"))[config["tasks"][0]]
    path = tasks_root() / entry["path"]
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.yaml"):
        stale.unlink()
    for task in packaged_tasks(path):
        present = splits_of(task.config["dataset_path"], task.config.get("dataset_name"))
        changes = override(task, present, config.get("num_fewshot"), entry.get("scored_instead", ()))
        if changes:
            text = yaml.safe_dump({"include": str(task.file), "task": task.name, **changes}, sort_keys=False)
            (folder / f"{task.name}.yaml").write_text(text, encoding="utf-8")
    return [str(path if path.is_dir() else path.parent), str(folder)]


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


def complete(run: Config, folder: Path) -> Config:
    """Return lm-eval's own configuration for this run; raises RefusedError."""
    if run["repeats"] != 1:
        raise RefusedError(
            "lm-eval repeats a question per task file only; run the task again with other seeds"
        )
    config: Config = run["config"]
    given = {key: value for key, value in config["model_args"].items() if key.startswith("tokenize")}
    others = {key: value for key, value in config["model_args"].items() if key not in given}
    chat_template = bool(config.get("apply_chat_template"))
    config["model_args"] = others | tokenizer_args(run["endpoint_type"], given, chat_template=chat_template)
    config["model_args"]["max_retries"] = ATTEMPTS
    # Keeps lm-eval from asking the hub who owns HF_TOKEN before it starts.
    config["hf_hub_log_args"] = {"hub_results_org": "none"}
    # lm-eval copies it into its results file, which proves whose results they are.
    config["metadata"] = {"evaldock_run": uuid.uuid4().hex}
    config["include_path"] = write_overrides(config, folder / "overrides")
    return config


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
        config = complete(run, path.parent)
    except RefusedError as error:
        sys.stderr.write(f"run_lm_eval: refused: {error}\n")
        sys.exit(USAGE)
    final = path.parent / "lm_eval.yaml"
    final.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    # results.py reads the log from here on.
    print(f"run_lm_eval: run {config['metadata']['evaldock_run']}", flush=True)  # noqa: T201
    import lm_eval.tasks
    from lm_eval.__main__ import cli_evaluate

    manager = functools.partial(lm_eval.tasks.TaskManager, include_defaults=False)
    lm_eval.tasks.TaskManager = manager
    ask_again_only_without_answer()
    sys.argv = ["lm_eval", "run", "--config", os.fspath(final)]
    cli_evaluate()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
