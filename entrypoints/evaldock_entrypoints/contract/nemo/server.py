"""The `deployment` section of a launcher document."""

from typing import Any

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.nemo.draft import MISSING, Draft
from evaldock_entrypoints.contract.nemo.shell_words import argv_of

_ROUTES = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embedding": "/v1/embeddings",
    "ranking": "/v1/ranking",
}
MODEL_KEYS = ("model_path", "hf_model_handle", "checkpoint_path")


def server(draft: Draft) -> None:
    """Type, model, arguments, routes and instances of the server."""
    if not isinstance(draft.at("deployment"), dict):
        return
    _ray(draft)
    _one_model(draft)
    _arguments(draft)
    _routes(draft)
    _instances(draft)


def _ray(draft: Draft) -> None:
    path = ("deployment", "type")
    if draft.at(*path) == "vllm_ray":
        draft.note(path, "type vllm; it brings its own Ray cluster where a server spans nodes")
        draft.put(path, draft.take(*path).with_value("vllm"))


def _one_model(draft: Draft) -> None:
    given = [key for key in MODEL_KEYS if draft.has("deployment", key)]
    named = [key for key in given if draft.at("deployment", key) is not None]
    if len(named) > 1:
        raise UsageError(
            f"{' and '.join(named)} both name a model",
            where=draft.place(("deployment", named[-1])),
            next_step=f"keep one of them, or set {named[-1]}: null",
        )
    for key in given if len(given) > 1 else []:
        if key not in named[:1]:
            draft.take("deployment", key)


def _arguments(draft: Draft) -> None:
    for key in ("extra_args", "command"):
        path = ("deployment", key)
        text = draft.at(*path)
        if isinstance(text, str) and text != MISSING:
            where = draft.place(path)
            given = draft.take(*path)
            if key == "command" and text.strip():
                _refuse_script(draft.at("deployment", "type"), where)
            if key == "extra_args" or text.strip():
                draft.put(path, given.with_value(argv_of(text, where)))


def _refuse_script(deployment_type: Any, where: str) -> None:
    if deployment_type != "generic":
        raise UsageError(
            "a server is started by its backend, not by a shell command",
            where=where,
            next_step="give arguments in deployment.extra_args, or use type: generic with a command",
        )


def _routes(draft: Draft) -> None:
    path = ("deployment", "endpoints")
    if draft.mapping(*path):
        for name, route in draft.at(*path).items():
            if name != "health" and route is not None and str(route).rstrip("/") != _ROUTES.get(name):
                raise UsageError(
                    f'the route "{route}" is not the one that OpenAI-compatible servers have',
                    where=draft.place((*path, name)),
                    next_step=f"remove it; {name} is asked under {_ROUTES.get(name, 'no route')}",
                )
        draft.note(path, "servers are asked under OpenAI's routes; readiness is a scored completion")
    if draft.has(*path):
        draft.take(*path)


def _instances(draft: Draft) -> None:
    path = ("deployment", "multiple_instances")
    if not draft.has(*path):
        return
    where = draft.place(path)
    given = draft.take(*path)
    nodes = draft.at("execution", "num_nodes")
    if not given.value:
        return
    if not isinstance(nodes, int):
        raise UsageError(
            "multiple_instances: true means one server per node, and the number of nodes is not given",
            where=where,
            next_step="write deployment.replicas: N instead",
        )
    draft.put(("deployment", "replicas"), given.with_value(nodes))
