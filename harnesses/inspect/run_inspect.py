"""Start one Inspect task on a structured configuration: run_inspect.py RUN_JSON.

Neither Inspect nor inspect-evals is changed. One log, native/*.json, is left; an earlier start's is removed.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

USAGE, HARNESS = 2, 4
SHOTS_ARE_FREE = ("gsm8k", "winogrande")  # their shots come from the training split, as many as one likes

Config = dict[str, Any]


def count(limit: float | None, total: int) -> int | None:
    """Return how many items a limit leaves: a number of items, or a share below 1 (rounded up)."""
    if limit is None:
        return None
    return min(total, math.ceil(total * limit) if limit < 1 else int(limit))


def refusal(run: Config) -> str | None:
    """Return why the run would not mean what it says, None where it does."""
    task, shots = run["task"], run.get("num_fewshot")
    if shots and task not in SHOTS_ARE_FREE and not (task == "mmlu_5_shot" and shots == 5):
        return f"{task} has no num_fewshot {shots}: its examples are part of the task"
    if run.get("cot") and not task.startswith("mmlu_"):
        return f"{task} has no cot"
    return None


def ask(run: Config) -> str:
    """Run the task; return the status that its log ends with."""
    import seeds  # noqa: F401 - registers itself
    from inspect_ai import eval as evaluate
    from inspect_ai.model import GenerateConfig, Model, get_model
    from tasks import TASKS, Arguments

    def model(role: str, given: Config, config: GenerateConfig) -> Model:
        """Return an endpoint as Inspect sees it; its key is in ROLE_API_KEY."""
        asked = GenerateConfig(**{name: given[name] for name in given if name in GenerateConfig.model_fields})
        return get_model(
            f"openai-api/{role}/{given['model']}",
            config=config.merge(asked),
            base_url=given["base_url"],
            client_timeout=float(run["client_timeout_s"]),
        )

    arguments = Arguments(
        num_fewshot=run.get("num_fewshot") or 0,
        max_new_tokens=run["generate"]["max_tokens"],
        cot=run.get("cot", False),
        judge=lambda config: model("judge", run["judge"], config),
    )
    task = TASKS[run["task"]](arguments)
    limit = count(run.get("limit"), len(task.dataset))
    (log,) = evaluate(
        task,
        model=model("target", run["target"], GenerateConfig()),
        limit=limit,
        sample_shuffle=run["seed"] if limit is not None and run["sampling"] == "seeded" else None,
        epochs=run["epochs"],
        # One failed sample is an errored sample; without this it would end the run.
        fail_on_error=False,
        # The adapter has made all attempts; the client itself asks again where a connection broke.
        max_retries=0,
        seed=run["seed"],
        log_dir=run["log_dir"],
        log_format="json",
        # Otherwise the whole log is written anew every few samples.
        log_buffer=2**31,
        log_realtime=False,
        display="plain",
        acp_server=False,
        ctl_server=False,
        **run["generate"],
    )
    return str(log.status)


def main(path: Path) -> None:
    """Remove what an earlier start left and run; the exit status follows the log's, unlike Inspect's own."""
    run = json.loads(path.read_text(encoding="utf-8"))
    for stale in Path(run["log_dir"]).glob("*.json"):
        stale.unlink()
    refused = refusal(run)
    if refused is not None:
        sys.stderr.write(f"run_inspect: refused: {refused}\n")
        sys.exit(USAGE)
    status = ask(run)
    if status != "success":
        sys.stderr.write(f"run_inspect: Inspect ended with the status {status}\n")
        sys.exit(HARNESS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
