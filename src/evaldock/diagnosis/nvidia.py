"""What this machine has of NVIDIA: boards, driver, and the toolkit that brings GPUs into containers."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaldock.diagnosis.parallel import Race
from evaldock.diagnosis.tools import Answer, ask

SMI_TIMEOUT_S = 7.0  # a driver without persistence mode starts its GPUs for each call
_FIELDS = "uuid,name,driver_version,memory.total,memory.used"
_FORMAT = "--format=csv,noheader,nounits"
_VENDOR, _DISPLAY_CLASS = "0x10de", "0x03"

Driver = Literal["absent", "failing", "silent", "works"]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as nvidia-smi reports it; None where it does not tell."""

    name: str
    driver: str
    total_mib: int | None
    used_mib: int | None
    processes: int


@dataclass(frozen=True, kw_only=True)
class Toolkit:
    """The parts of the NVIDIA Container Toolkit that are here. spec_drivers: what CDI specs were made for."""

    hook: bool = False
    ctk: bool = False
    specs: tuple[Path, ...] = ()
    spec_drivers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Nvidia:
    """Everything found. said: the words of an nvidia-smi that fails; devices: the lines of nvidia-smi -L."""

    driver: Driver
    said: str = ""
    devices: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    nodes: tuple[str, ...] = ()
    boards: int = 0
    toolkit: Toolkit = Toolkit()


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the kernel and the toolkit show what they have."""

    dev: Path = Path("/dev")
    pci: Path = Path("/sys/bus/pci/devices")
    cdi: tuple[Path, ...] = (Path("/etc/cdi"), Path("/var/run/cdi"))


def probe(places: Places | None = None) -> Nvidia:
    """Look for boards, device nodes and toolkit, and ask nvidia-smi."""
    places = places or Places()
    race = Race(SMI_TIMEOUT_S + 0.5)
    late = Answer(code=None, output="")
    listed = race.start(lambda: ask(["nvidia-smi", "-L"], SMI_TIMEOUT_S), late=late)
    gpus = race.start(
        lambda: ask(["nvidia-smi", f"--query-gpu={_FIELDS}", _FORMAT], SMI_TIMEOUT_S), late=late
    )
    apps = race.start(
        lambda: ask(["nvidia-smi", "--query-compute-apps=gpu_uuid", _FORMAT], SMI_TIMEOUT_S), late=late
    )
    answer = listed()
    state = _state(answer)
    return Nvidia(
        driver=state,
        said=answer.first_line if answer and state == "failing" else "",
        devices=tuple(_lines(answer)) if state == "works" else (),
        gpus=tuple(_gpus(gpus(), apps())) if state == "works" else (),
        nodes=tuple(sorted(path.name for path in places.dev.glob("nvidia[0-9]*"))),
        boards=_boards(places.pci),
        toolkit=_toolkit(places.cdi),
    )


def _state(answer: Answer | None) -> Driver:
    if answer is None:
        return "absent"
    if answer.code is None:
        return "silent"
    return "works" if answer.code == 0 and any(_lines(answer)) else "failing"


def _lines(answer: Answer | None) -> Iterator[str]:
    """Yield the GPUs and their parts that nvidia-smi -L lists, without their serial identities."""
    for line in answer.output.splitlines() if answer else ():
        if re.match(r"\s*(GPU|MIG) ", line):
            yield re.sub(r"\s*\(UUID:[^)]*\)", "", line).strip()


def _gpus(answer: Answer | None, apps: Answer | None) -> Iterator[Gpu]:
    busy = Counter(apps.output.split()) if apps and apps.code == 0 else Counter()
    for line in answer.output.splitlines() if answer and answer.code == 0 else ():
        words = [word.strip() for word in line.split(",")]
        if len(words) == len(_FIELDS.split(",")):
            uuid, name, driver, total, used = words
            yield Gpu(
                name=name,
                driver=driver,
                total_mib=_number(total),
                used_mib=_number(used),
                processes=busy[uuid],
            )


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() else None


def _boards(pci: Path) -> int:
    """Count NVIDIA's display and 3D controllers on the bus."""
    return sum(
        _says(device / "vendor", _VENDOR) and _says(device / "class", _DISPLAY_CLASS)
        for device in (pci.iterdir() if pci.is_dir() else ())
    )


def _says(path: Path, beginning: str) -> bool:
    try:
        return path.read_text(encoding="ascii").startswith(beginning)
    except (OSError, ValueError):
        return False


def _toolkit(folders: tuple[Path, ...]) -> Toolkit:
    texts = dict(_specs(folders))
    drivers = {
        match for text in texts.values() for match in re.findall(r"libcuda\.so\.(\d+\.[\d.]*\d)", text)
    }
    return Toolkit(
        hook=shutil.which("nvidia-container-runtime-hook") is not None,
        ctk=shutil.which("nvidia-ctk") is not None,
        specs=tuple(texts),
        spec_drivers=tuple(sorted(drivers)),
    )


def _specs(folders: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    """Yield the CDI specifications of NVIDIA GPUs."""
    for folder in folders:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path.suffix in {".yaml", ".yml", ".json"}:
                text = path.read_text(encoding="utf-8", errors="replace")
                if "nvidia.com/gpu" in text:
                    yield path, text
