"""Fault F29: what is on disk is torn or flipped between two starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kit.fault_runs import Ran, asked, run_toy

from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.contract.adapter import EXCHANGES
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]
Measured = Callable[..., None]


def damaged_start(tmp_path: Path, endpoint: RunningEndpoint) -> Path:
    """Leave a run whose harness gave up at the last question; return its exchanges."""
    endpoint.reset(faults=[{"match": {"item": "19"}, "action": "status", "status": 400}])
    ran = run_toy(tmp_path, endpoint.url)
    assert ran.code is ExitCode.HARNESS
    endpoint.reset(faults=[])
    return ran.folder / EXCHANGES


def flip(path: Path) -> None:
    """Change one bit in each of twelve places."""
    data = bytearray(path.read_bytes())
    for number in range(12):
        data[(2 * number + 1) * len(data) // 24] ^= 0x10
    path.write_bytes(data)


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def hole(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3] + data[len(data) // 2 :])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00" * 4096 + path.read_bytes() + b"{}" * 512)


@pytest.mark.parametrize(
    ("damage", "is_counted", "lost_between"),
    [
        (flip, True, (1, 12)),
        (tear, True, (5, 8)),
        (hole, True, (2, 6)),
        (empty, False, (19, 19)),
        (garbage, True, (0, 0)),
    ],
)
def test_f29_a_damaged_store_costs_what_is_damaged_and_is_counted(
    tmp_path: Path,
    faulty: RunningEndpoint,
    undisturbed: Ran,
    damage: Callable[[Path], None],
    is_counted: bool,
    lost_between: tuple[int, int],
    measured: Measured,
) -> None:
    (segment,) = damaged_start(tmp_path, faulty).iterdir()
    damage(segment)
    ran = run_toy(tmp_path, faulty.url)
    assert ran.answers() == undisturbed.answers()
    assert (ran.metrics["corrupt_exchanges"] > 0) == is_counted
    lost = set(asked(faulty)) - {"19"}
    measured(lost=len(lost), counted=ran.metrics["corrupt_exchanges"])
    assert lost_between[0] <= len(lost) <= lost_between[1]
    assert ran.metrics["cached"] == 19 - len(lost)


def test_f29_a_damaged_state_starts_the_task_over_from_the_store(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran
) -> None:
    task = damaged_start(tmp_path, faulty).parent
    for name in ("state.json", "results.yml", "progress.json", "logs/response_stats.json"):
        (task / name).write_bytes(b'{"finished_phases": ["ask"\x00')
    status = task.parent / "adapter" / "status.json"
    status.write_bytes(b'{"ready": true, "fatal": 3')
    ran = run_toy(tmp_path, faulty.url)
    assert ran.answers() == undisturbed.answers()
    assert asked(faulty) == {"19": 1}
