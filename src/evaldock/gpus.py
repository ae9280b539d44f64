"""GPUs of a run: who gets which. Pure: knows what was asked for, not what the machine has."""

from collections.abc import Iterable, Iterator
from itertools import count, islice

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.fields import Gpus

_WHOLE, _SERVER, _HARNESS = "execution.gpus", "deployment.gpus", "evaluation.gpus"


def split_gpus(
    execution: Gpus | None, deployment: Gpus | None, evaluation: Gpus | None, *, deployed: bool
) -> tuple[Gpus, Gpus]:
    """Return the GPUs of the server and of the harness; None is a key that the document does not set.

    execution.gpus is the whole. A server gets all that the harness does not, a harness only what
    evaluation.gpus gives it. Where both get some, both get device ids: "two of them" is the same two for
    every container that asks. Raises UsageError where the parts overlap or exceed the whole.
    """
    whole, server, harness = (_plain(gpus) for gpus in (execution, deployment, evaluation))
    if not deployed and server not in (None, "none"):
        raise _refusal("there is no server to give GPUs to", {_SERVER: server}, "set evaluation.gpus instead")
    if not deployed:
        server = "none"
    if whole is None:
        whole = _sum(server or "none", harness or "none")
    if server is None:
        server = _rest(whole, harness or "none")
    return _placed(whole, server, harness or "none")


def number_of(gpus: Gpus) -> int | None:
    """Return how many GPUs are asked for; None: all that there are."""
    match gpus:
        case "all":
            return None
        case "none":
            return 0
        case int():
            return gpus
        case _:
            return len(gpus)


def _plain(gpus: Gpus | None) -> Gpus | None:
    """Return one spelling of "none" for its three."""
    return "none" if gpus in (0, []) else gpus


def _sum(server: Gpus, harness: Gpus) -> Gpus:
    """Return the smallest whole that holds both parts."""
    if "none" in (server, harness):
        return harness if server == "none" else server
    numbers = number_of(server), number_of(harness)
    return "all" if None in numbers else sum(number or 0 for number in numbers)


def _rest(whole: Gpus, harness: Gpus) -> Gpus:
    """Return what of the whole the harness leaves to the server."""
    if harness == "none":
        return whole
    if harness == "all":
        return "none"
    if whole == "all":
        raise _refusal(
            "what the harness leaves to the server cannot be known before the run",
            {_WHOLE: whole, _HARNESS: harness},
            "set deployment.gpus too, or name the whole by a count or by device ids",
        )
    if isinstance(whole, list) and isinstance(harness, list):
        return _plain([device for device in whole if device not in harness]) or "none"
    return _plain(max((number_of(whole) or 0) - (number_of(harness) or 0), 0)) or "none"


def _placed(whole: Gpus, server: Gpus, harness: Gpus) -> tuple[Gpus, Gpus]:
    parts = {_WHOLE: whole, _SERVER: server, _HARNESS: harness}
    _refuse_too_many(whole, server, harness, parts)
    _refuse_foreign(whole, [*_ids(server), *_ids(harness)], parts)
    if "none" in (server, harness):
        return _within(whole, server), _within(whole, harness)
    taken = {*_ids(server), *_ids(harness)}
    free = (device for device in _pool(whole) if device not in taken)
    return _chosen(server, free), _chosen(harness, free)


def _refuse_too_many(whole: Gpus, server: Gpus, harness: Gpus, parts: dict[str, Gpus]) -> None:
    if set(_ids(server)) & set(_ids(harness)) or (
        "all" in (server, harness) and "none" not in (server, harness)
    ):
        raise _refusal(
            "server and harness are given the same GPUs",
            parts,
            "give each its own, by count or by device ids",
        )
    available = number_of(whole)
    if available == 0 and "all" in (server, harness):
        raise _refusal("all GPUs are given to a part, and the run has none", parts, f"raise {_WHOLE}")
    wanted = [number_of(part) for part in (server, harness)]
    if available is not None and None not in wanted and sum(number or 0 for number in wanted) > available:
        raise _refusal(
            f"server and harness are given more GPUs than the run has ({available})",
            parts,
            f"raise {_WHOLE}, or lower a part",
        )


def _refuse_foreign(whole: Gpus, devices: Iterable[int], parts: dict[str, Gpus]) -> None:
    foreign = [device for device in devices if isinstance(whole, list) and device not in whole]
    if foreign:
        raise _refusal(f"GPU {foreign[0]} is none of the run's", parts, f"add it to {_WHOLE}")


def _within(whole: Gpus, part: Gpus) -> Gpus:
    """Return the part by the whole's device ids, where the whole has some."""
    if part == "all":
        return whole
    if isinstance(whole, list) and isinstance(part, int):
        return whole[:part]
    return part


def _ids(gpus: Gpus) -> list[int]:
    return gpus if isinstance(gpus, list) else []


def _pool(whole: Gpus) -> Iterator[int]:
    """Yield device ids to choose from, in the order in which engines count GPUs."""
    return iter(whole) if isinstance(whole, list) else count()


def _chosen(part: Gpus, free: Iterator[int]) -> Gpus:
    return list(islice(free, part)) if isinstance(part, int) else part


def _refusal(message: str, parts: dict[str, Gpus], step: str) -> UsageError:
    named = ", ".join(f"{key}: {gpus}" for key, gpus in parts.items() if gpus != "none" or key == _WHOLE)
    return UsageError(message, where=named, next_step=step)
