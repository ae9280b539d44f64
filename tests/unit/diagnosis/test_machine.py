"""Disk, temporary files, limits, language, certificates, control groups, images, schedulers."""

import os
from pathlib import Path

import pytest
from tests.kit.programs import fake_program, first_on_path, only_programs
from tests.unit.diagnosis.findings import named

from evaldock.diagnosis import cgroups, disk, images, machine, own_engine, programs
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.packages import packages
from evaldock.supply.lock import ImagesLock, LockedImage, write_lock

DIGEST = "sha256:" + "a" * 64
FACTS = Facts(output=Path("results"))


def place(folder: Path, needs_bytes: int = 1) -> disk.Place:
    return disk.Place(what="disk", folder=folder, needs_bytes=needs_bytes, fix="free some")


def test_a_disk_with_less_room_than_needed_is_a_needed_lack(tmp_path: Path) -> None:
    assert disk.space(place(tmp_path)).state == "ok"
    finding = disk.space(place(tmp_path, needs_bytes=1 << 60))
    assert (finding.state, finding.needed) == ("lack", True)
    assert "are needed" in finding.found


def test_the_disk_of_a_folder_that_is_still_to_be_made_is_that_of_its_parent(tmp_path: Path) -> None:
    assert disk.space(place(tmp_path / "a" / "b")).state == "ok"


def test_every_place_that_is_written_is_looked_at() -> None:
    names = {finding.what for finding in disk.findings(FACTS)}
    assert {"disk for images", "disk for builds and models", "disk for results"} <= names


def test_a_temporary_folder_that_is_not_there_can_be_made(tmp_path: Path) -> None:
    assert disk.temporary(None).state == disk.temporary(str(tmp_path)).state == "ok"
    finding = disk.temporary(f"{tmp_path}/new folder")
    assert finding.fix == f"mkdir -p -m 700 '{tmp_path}/new folder'"
    assert finding.remedy is not None
    (tmp_path / "file").touch()
    assert disk.temporary(f"{tmp_path}/file").remedy is None


@pytest.mark.parametrize(("limit", "state"), [(1024, "lack"), (1 << 20, "ok"), (-1, "ok")])
def test_few_open_files_or_processes_are_too_few(limit: int, state: str) -> None:
    assert machine.open_files(limit).state == machine.processes(limit).state == state


def test_text_that_is_not_utf_8_is_a_lack() -> None:
    assert machine.encoding("UTF-8").state == "ok"
    assert machine.encoding("ANSI_X3.4-1968").fix == "export LC_ALL=C.UTF-8"


def test_being_inside_a_container_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("container", raising=False)
    assert machine.confinement((tmp_path / "none",)).state == "ok"
    assert machine.confinement((tmp_path,)).state == "note"
    monkeypatch.setenv("container", "podman")
    assert machine.confinement((tmp_path / "none",)).state == "note"


def test_a_bundle_without_authorities_is_a_lack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "empty.pem"
    bundle.write_text("not a certificate\n", encoding="ascii")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_CERT", str(bundle))
    finding = machine.certificates()
    assert (finding.state, finding.found) == ("lack", f"0 authorities in {bundle}")


def test_versions_of_evaldock_and_python_are_named() -> None:
    finding = named(machine.findings(FACTS), "evaldock")
    assert "Python 3." in finding.found


@pytest.mark.parametrize(("controllers", "state"), [("cpu memory pids\n", "ok"), ("cpu\n", "lack")])
def test_control_groups_of_the_second_version(tmp_path: Path, controllers: str, state: str) -> None:
    (tmp_path / "cgroup.controllers").write_text(controllers, encoding="ascii")
    finding = cgroups.control_groups(tmp_path)
    assert finding.state == state
    assert state == "ok" or finding.found == f"not at {tmp_path}: memory, pids"


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    for name in ("cpu", "devices", "memory"):
        (tmp_path / name).mkdir()
    finding = cgroups.control_groups(tmp_path)
    assert finding.found == f"not at {tmp_path}: pids"
    assert finding.fix == f"mkdir -p {tmp_path}/pids; mount -t cgroup -o pids none {tmp_path}/pids"
    (tmp_path / "pids").mkdir()
    assert cgroups.control_groups(tmp_path).state == "ok"


def test_a_machine_without_control_groups_is_told_to_mount_the_second_version(tmp_path: Path) -> None:
    assert cgroups.control_groups(tmp_path / "nothing").state == "lack"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert cgroups.control_groups(empty).fix == f"mount -t cgroup2 none {empty}"


IPTABLES = "echo 'iptables: Failed to initialize nft: Protocol not supported' >&2; exit 1"


def test_iptables_that_fails_is_switched_only_where_the_other_one_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "bin"
    fake_program(folder, "iptables", IPTABLES)
    fake_program(folder, "update-alternatives", "")
    only_programs(folder, monkeypatch)
    without = own_engine.packet_filter()
    assert (without.state, without.remedy) == ("lack", None)
    assert "Failed to initialize nft" in without.found

    fake_program(folder, "iptables-legacy", "")

    assert (own_engine.packet_filter().fix or "").startswith("update-alternatives --set iptables")


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "dpkg-query", "echo 'one install ok installed'")
    only_programs(tmp_path / "bin", monkeypatch)
    finding = packages("tools", ("one", "two"))
    assert finding.fix == "apt-get install --no-install-recommends two"
    assert finding.remedy is None  # no apt-get here
    assert packages("tools", ("one",)).state == "ok"


@pytest.mark.parametrize(
    ("script", "state", "found"),
    [
        ("echo slurm-wlm 22.05.8", "ok", "sbatch 22.05.8"),
        (
            "echo slurm 22.05; echo 'sbatch: error: no config' >&2; exit 1",
            "note",
            "sbatch fails: sbatch: error: no config",
        ),
    ],
)
def test_a_scheduler_is_named_with_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, state: str, found: str
) -> None:
    fake_program(tmp_path / "bin", "sbatch", script)
    first_on_path(tmp_path / "bin", monkeypatch)
    finding = named(programs.findings(FACTS), "Slurm")
    assert (finding.state, finding.found) == (state, found)


def test_a_locked_image_that_the_store_lost_is_named() -> None:
    assert images.built().fix == "evaldock build"
    image = LockedImage(
        name="lm-eval",
        kind="harness",
        version="1",
        digest=DIGEST,
        image_id=DIGEST,
        size_bytes=1,
        input_hash=DIGEST,
    )
    write_lock(ImagesLock().replacing(image))
    finding = images.built()
    assert finding.state == "lack"
    assert "lm-eval" in finding.found
    assert finding.fix == "evaldock build lm-eval"


def test_a_broken_catalogue_is_a_needed_lack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert images.catalogue().state == "ok"
    (tmp_path / "registry.yaml").write_text("harnesses: 3\n", encoding="utf-8")
    monkeypatch.setenv("EVALDOCK_REGISTRY_FILE", str(tmp_path / "registry.yaml"))
    assert images.catalogue().needed
