"""GPUs that a started unit sees, counted inside it: some engines accept a request and give nothing."""

import queue
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaldock.gpus import number_of
from evaldock.plan import Unit
from evaldock.visible_text import one_line
from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.contract.fields import Gpus

ANSWER_TIMEOUT_S = 30.0  # a driver without persistence mode starts every GPU for each call
NOT_THERE = frozenset({126, 127})  # what engines and shells exit with where a program is missing
_LIST = ("nvidia-smi", "-L")
_NODES = ("ls", "/dev")
_NODE = re.compile(r"nvidia\d+")

_STEPS = {
    "could not select device driver": "install the NVIDIA Container Toolkit, then restart the engine",
    "nknown runtime": "register it (sudo nvidia-ctk runtime configure --runtime=docker), restart the engine",
    "unknown or invalid runtime": "register it (sudo nvidia-ctk runtime configure), restart the engine",
    "CDI device": "write the CDI specification: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml; "
    "its names are shown by: nvidia-ctk cdi list",
    "nvidia-container-cli": "see that `nvidia-smi` works on this machine: the driver is what fails",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program inside a unit printed, and its exit status."""

    code: int
    output: str


Ask = Callable[[Sequence[str]], Answer | None]  # runs argv inside a unit; None: the unit has ended


def counted_gpus(unit: Unit, ask: Ask, *, is_local: bool) -> tuple[str, ...]:
    """Return the GPUs that a running unit sees, empty where none are asked for or where it has ended.

    is_local: its engine runs on this machine. Raises ExecutionError where they are fewer than asked for.
    """
    if number_of(unit.gpus) == 0:
        return ()
    seen = _visible(ask)
    if seen is None:
        return ()
    gpus, complaint = seen
    wanted = number_of(unit.gpus) or max(1, len(host_gpus()) if is_local else 0)
    if len(gpus) < wanted:
        raise _too_few(unit, wanted, gpus, complaint)
    return gpus


def host_gpus() -> tuple[str, ...]:
    """Return the GPUs that this machine shows."""
    seen = _visible(_ask_host)
    return seen[0] if seen else ()


def gpu_step(explanation: str, gpus: Gpus) -> str | None:
    """Return what to do about an engine's refusal of GPUs, None where the refusal is not about them."""
    step = next((step for words, step in _STEPS.items() if words in explanation), None)
    if step is None or number_of(gpus) == 0:
        return step
    if not host_gpus():
        return f"this machine shows no NVIDIA GPU: run with --gpus none; where it has one: {step}"
    return f"{step}; or run with --gpus none"


def within(timeout_s: float, call: Callable[[], Answer | None]) -> Answer | None:
    """Return the call's answer; raises ExecutionError for one that hangs, and ends with its container."""
    answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(call()), daemon=True).start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        raise silent(timeout_s) from None


def silent(timeout_s: float) -> ExecutionError:
    """Return the error of a container that does not tell its GPUs."""
    return ExecutionError(
        f"the container does not tell within {timeout_s:g} s which GPUs it sees",
        next_step="see how long `nvidia-smi -L` takes on this machine; a hanging driver needs a restart",
    )


def _visible(ask: Ask) -> tuple[tuple[str, ...], str] | None:
    """Return the GPUs and, where nvidia-smi fails, its words."""
    listed = ask(_LIST)
    if listed is None:
        return None
    if listed.code not in NOT_THERE:
        gpus = tuple(one_line(line.strip()) for line in listed.output.splitlines() if line.startswith("GPU "))
        return gpus, "" if gpus else one_line(f"nvidia-smi -L: {listed.output.strip() or 'no output'}")
    nodes = ask(_NODES)
    if nodes is None:
        return None
    return tuple(sorted(filter(_NODE.fullmatch, nodes.output.split()))), ""


def _ask_host(argv: Sequence[str]) -> Answer | None:
    if argv == _NODES:
        return Answer(code=0, output="\n".join(path.name for path in Path("/dev").glob("nvidia*")))
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S, check=False)
    except FileNotFoundError:
        return Answer(code=127, output="")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Answer(code=done.returncode, output=done.stdout)


def _too_few(unit: Unit, wanted: int, gpus: Sequence[str], complaint: str) -> ExecutionError:
    what = f"all GPUs (this machine has {wanted})" if unit.gpus == "all" else _gpus(wanted)
    return ExecutionError(
        f"asked for {what}, the container sees {len(gpus) or 'none'}",
        where=complaint or f"container {unit.name}: {'; '.join(gpus) or 'no /dev/nvidia0'}",
        next_step=f"ask for what is there (nvidia-smi -L lists it), such as --gpus {len(gpus) or 'none'}; "
        "evaldock doctor names what is missing",
    )


def _gpus(number: int) -> str:
    return f"{number} GPU{'' if number == 1 else 's'}"
