import time
from collections.abc import Sequence

import pytest
from tests.kit.plans import made_up_pin

from evaldock.engines.gpus import Answer, Ask, counted_gpus, gpu_step, within
from evaldock.plan import Unit
from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.contract.fields import Gpus

TWO = """GPU 0: NVIDIA H100 (UUID: GPU-1)
  MIG 1g.10gb Device 0: (UUID: MIG-1)
GPU 1: NVIDIA H100 (UUID: GPU-2)
"""
NO_PROGRAM = Answer(code=127, output="executable file not found")


def unit(gpus: Gpus) -> Unit:
    return Unit(name="server", role="server", image=made_up_pin("x"), argv=(), network="none", gpus=gpus)


def container(smi: Answer | None, nodes: Answer | None = None) -> Ask:
    """A container that answers nvidia-smi and ls."""

    def ask(argv: Sequence[str]) -> Answer | None:
        return smi if argv[0] == "nvidia-smi" else nodes

    return ask


def count(gpus: Gpus, ask: Ask) -> tuple[str, ...]:
    return counted_gpus(unit(gpus), ask, is_local=False)


@pytest.mark.parametrize("gpus", [2, 1, [0, 5], "all"])
def test_names_and_uuids_are_those_that_nvidia_smi_tells(gpus: Gpus) -> None:
    assert count(gpus, container(Answer(code=0, output=TWO))) == (
        "GPU 0: NVIDIA H100 (UUID: GPU-1)",
        "GPU 1: NVIDIA H100 (UUID: GPU-2)",
    )


def test_device_nodes_are_counted_where_there_is_no_nvidia_smi() -> None:
    nodes = Answer(code=0, output="full\nnvidia0\nnvidia1\nnvidia-uvm\nnvidiactl\nnull\n")
    assert count(2, container(NO_PROGRAM, nodes)) == ("nvidia0", "nvidia1")
    with pytest.raises(ExecutionError, match="asked for 3 GPUs, the container sees 2"):
        count(3, container(NO_PROGRAM, nodes))


def test_device_nodes_do_not_excuse_a_driver_that_fails() -> None:
    failing = Answer(code=9, output="NVIDIA-SMI has failed because it couldn't communicate with the driver\n")
    with pytest.raises(ExecutionError, match="sees none") as caught:
        count(1, container(failing, Answer(code=0, output="nvidia0")))
    assert "couldn't communicate" in str(caught.value.where)


@pytest.mark.parametrize("ask", [container(None), container(NO_PROGRAM, None)])
def test_a_unit_that_has_ended_is_not_accused(ask: Ask) -> None:
    assert count(8, ask) == ()


@pytest.mark.parametrize("gpus", ["none", 0, []])
def test_nothing_is_asked_where_no_gpu_was_requested(gpus: Gpus) -> None:
    def ask(argv: Sequence[str]) -> Answer | None:
        raise AssertionError(argv)

    assert count(gpus, ask) == ()


def test_a_call_that_hangs_is_an_error_in_bounded_time() -> None:
    def hang() -> Answer:
        time.sleep(0.3)
        return NO_PROGRAM

    with pytest.raises(ExecutionError, match=r"within 0\.05 s"):
        within(0.05, hang)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "NVIDIA Container Toolkit"),
        ("Unknown runtime specified nvidia", "nvidia-ctk runtime configure"),
        ("unknown or invalid runtime name: nvidia", "nvidia-ctk runtime configure"),
        ("setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all", "nvidia-ctk cdi generate"),
        ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0", "nvidia-ctk cdi generate"),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", "nvidia-smi"),
    ],
)
def test_an_engines_refusal_says_what_to_do(said: str, step: str) -> None:
    assert step in str(gpu_step(said, 1))
    assert "--gpus none" in str(gpu_step(said, 1))


def test_other_refusals_are_not_about_gpus() -> None:
    assert gpu_step("no space left on device", "none") is None
