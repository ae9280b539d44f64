"""GPUs: missing, wrong driver, busy (fault F37), and their way into containers."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.kit.fake_engine import DOCKER, ENFORCED
from tests.kit.programs import fake_program, only_programs
from tests.unit.diagnosis.findings import named

from evaldock.diagnosis import gpus
from evaldock.diagnosis.engine_api import Address, Engine, Info, Version
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding
from evaldock.diagnosis.nvidia import Gpu, Nvidia, Places, Toolkit, probe

LISTED = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-a)\nGPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-b)"
SMI = """
case "$1" in
  -L) printf '%s\\n' "{listed}" ;;
  --query-gpu=*)
    echo "GPU-a, NVIDIA H100 80GB HBM3, {driver}, 81559, {first}"
    echo "GPU-b, NVIDIA H100 80GB HBM3, {driver}, 81559, [N/A]" ;;
  --query-compute-apps=*) printf '%s\\n' {apps} ;;
esac
"""


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    only_programs(tmp_path / "bin", monkeypatch, "cat", "sleep")
    return tmp_path / "bin"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A machine without GPUs."""
    dev, pci, cdi = (tmp_path / name for name in ("dev", "pci", "cdi"))
    for folder in (dev, pci, cdi):
        folder.mkdir()
    return Places(dev=dev, pci=pci, cdi=(cdi,))


def smi(programs: Path, *, driver: str = "550.54.15", first: int = 4, apps: str = "''") -> None:
    text = SMI.format(listed=LISTED, driver=driver, first=first, apps=apps)
    fake_program(programs, "nvidia-smi", text)


def looked_at(places: Places, *, engine: Engine | None = None) -> list[Finding]:
    facts = Facts(output=Path("results"), nvidia=probe(places), engines=(engine,) if engine else ())
    return list(gpus.findings(facts))


def engine_with(**info: object) -> Engine:
    return Engine(
        address=Address(url="unix:///e.sock", source="the usual socket", tried=True),
        version=Version.model_validate(DOCKER),
        info=Info.model_validate({**ENFORCED, **info}),
    )


@pytest.mark.usefixtures("programs")
def test_a_machine_without_a_gpu_lacks_nothing(places: Places) -> None:
    (finding,) = looked_at(places)
    assert (finding.state, finding.fix) == ("note", None)


@pytest.mark.usefixtures("programs")
def test_device_nodes_without_a_driver_are_a_lack(places: Places) -> None:
    (places.dev / "nvidia0").touch()
    (places.dev / "nvidiactl").touch()
    (finding,) = looked_at(places)
    assert finding.state == "lack"
    assert finding.found == "device nodes nvidia0, and no driver (no nvidia-smi)"
    assert "apt-get install nvidia-driver" in (finding.fix or "")


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(("class_", "state"), [("0x030200", "lack"), ("0x040300", "note")])
def test_a_board_on_the_bus_without_a_driver_is_a_lack(places: Places, class_: str, state: str) -> None:
    board = places.pci / "0000:01:00.0"
    board.mkdir()
    (board / "vendor").write_text("0x10de\n", encoding="ascii")
    (board / "class").write_text(f"{class_}\n", encoding="ascii")
    (finding,) = looked_at(places)
    assert finding.state == state


FAILURES = {
    "Failed to initialize NVML: Driver/library version mismatch": ("wrong driver", "reboot"),
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.": (
        "its kernel module is not loaded",
        "modprobe nvidia",
    ),
    "No devices were found": ("finds no GPU", "dmesg"),
    "Failed to initialize NVML: Insufficient Permissions": ("not yours", "usermod"),
    "Unable to determine the device handle": ("nvidia-smi fails", "dmesg"),
}


@pytest.mark.parametrize("said", FAILURES)
def test_a_wrong_driver_is_told_apart_by_what_it_says(programs: Path, places: Places, said: str) -> None:
    fake_program(programs, "nvidia-smi", f"cat <<'END'\n{said}\nEND\nexit 9")
    (finding,) = looked_at(places)
    meaning, fix = FAILURES[said]
    assert finding.state == "lack"
    assert meaning in finding.found
    assert said in finding.found
    assert fix in (finding.fix or "")


def test_no_devices_with_exit_code_0_is_not_taken_for_a_gpu(programs: Path, places: Places) -> None:
    fake_program(programs, "nvidia-smi", "echo 'No devices were found'")
    (finding,) = looked_at(places)
    assert "finds no GPU" in finding.found


def test_a_hanging_driver_is_said_to_hang(
    programs: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaldock.diagnosis.nvidia.SMI_TIMEOUT_S", 0.3)
    fake_program(programs, "nvidia-smi", "exec sleep 60")
    (finding,) = looked_at(places)
    assert "has not answered" in finding.found
    assert "nvidia-smi -pm 1" in (finding.fix or "")


def test_idle_gpus_are_listed_with_name_and_driver_and_without_identity(
    programs: Path, places: Places
) -> None:
    smi(programs)
    findings = looked_at(places)
    found = named(findings, "GPUs").found
    assert found == "GPU 0: NVIDIA H100 80GB HBM3, GPU 1: NVIDIA H100 80GB HBM3; driver 550.54.15"
    assert named(findings, "use of GPUs").found == "all idle"


def test_a_driver_too_old_for_cuda_12_is_a_wrong_driver(programs: Path, places: Places) -> None:
    smi(programs, driver="470.256.02")
    finding = named(looked_at(places), "GPUs")
    assert finding.state == "lack"
    assert "too old for CUDA 12" in finding.found


@pytest.mark.parametrize(("first", "apps"), [(70000, "''"), (4, "GPU-a")])
def test_a_busy_gpu_is_a_note_that_names_the_idle_ones(
    programs: Path, places: Places, first: int, apps: str
) -> None:
    smi(programs, first=first, apps=apps)
    finding = named(looked_at(places), "use of GPUs")
    assert finding.state == "note"
    assert finding.found.startswith("busy: 0 (")
    assert finding.found.endswith("idle: 1")
    assert finding.fix == "evaldock run … -o execution.gpus='[1]'"


def test_all_gpus_busy_is_a_lack_with_the_way_to_their_users(programs: Path, places: Places) -> None:
    smi(programs, apps="GPU-a GPU-b GPU-b")
    finding = named(looked_at(places), "use of GPUs")
    assert finding.state == "lack"
    assert "1 (2 processes, 0 of 81559 MiB)" in finding.found
    assert "--query-compute-apps=pid" in (finding.fix or "")


def test_a_driver_without_the_toolkit_lacks_the_toolkit(programs: Path, places: Places) -> None:
    smi(programs)
    findings = looked_at(places, engine=engine_with())
    assert named(findings, "container toolkit").state == "lack"
    engine = named(findings, "GPUs in the engine")
    assert engine.state == "lack"
    assert "nvidia-ctk runtime configure" in (engine.fix or "")


def test_toolkit_and_engine_that_know_each_other_are_well(programs: Path, places: Places) -> None:
    smi(programs)
    fake_program(programs, "nvidia-ctk", "")
    spec = "kind: nvidia.com/gpu\n# /usr/lib/libcuda.so.550.54.15\n"
    (places.cdi[0] / "nvidia.yaml").write_text(spec, encoding="utf-8")
    ways: list[dict[str, object]] = [{"Runtimes": {"nvidia": {}}}, {"CDISpecDirs": ["/etc/cdi"]}]
    for info in ways:
        findings = looked_at(places, engine=engine_with(**info))
        assert named(findings, "container toolkit").found == "nvidia-ctk, CDI files"
        assert named(findings, "GPUs in the engine").state == "ok"


def test_cdi_files_of_a_driver_that_is_gone_are_a_lack() -> None:
    kit = Toolkit(ctk=True, specs=(Path("nvidia.yaml"),), spec_drivers=("535.1.2",))
    nvidia = Nvidia(driver="works", toolkit=kit)
    assert gpus.toolkit(nvidia).state == "ok"
    gpu = Gpu(name="H100", driver="550.54.15", total_mib=1, used_mib=0, processes=0)
    finding = gpus.toolkit(replace(nvidia, gpus=(gpu,)))
    assert finding.state == "lack"
    assert "made for driver 535.1.2" in finding.found
    assert (finding.fix or "").startswith("nvidia-ctk cdi generate")
