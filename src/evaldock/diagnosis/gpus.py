"""GPUs: missing, with a wrong driver, or busy, each told apart; and their way into containers."""

from collections.abc import Iterator

from evaldock.diagnosis.engine_api import Engine
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, lack, note, ok
from evaldock.diagnosis.nvidia import SMI_TIMEOUT_S, Gpu, Nvidia

_OLDEST_DRIVER = 525  # the oldest branch that runs CUDA 12
_BUSY_MIB = 1024  # an idle GPU holds some hundred MiB at most
_TOOLKIT = "apt-get install nvidia-container-toolkit (from NVIDIA's package repository)"
_CDI = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
_RUNTIME = "nvidia-ctk runtime configure --runtime=docker && systemctl restart docker"

# What nvidia-smi says → (what that means, the command).
_FAILURES = {
    "version mismatch": (
        "wrong driver: the loaded kernel module is of another version than the driver's programs",
        "reboot, or: modprobe -r nvidia_drm nvidia_modeset nvidia_uvm nvidia && modprobe nvidia",
    ),
    "communicate with the nvidia driver": (
        "wrong driver: its kernel module is not loaded",
        "modprobe nvidia; after a new kernel first: apt-get install --reinstall nvidia-kernel-dkms",
    ),
    "no devices were found": (
        "the driver runs and finds no GPU",
        "dmesg | grep -i nvrm (a GPU that fell off the bus, or is given to a virtual machine)",
    ),
    "insufficient permissions": (
        "the device nodes are not yours to use",
        "as root: usermod -aG video,render $USER, then log in again",
    ),
}


def findings(facts: Facts) -> Iterator[Finding]:
    """Look at the driver, then at what brings GPUs into containers."""
    nvidia = facts.nvidia
    yield driver(nvidia)
    if nvidia.driver != "works":
        return
    if nvidia.gpus:
        yield use(nvidia.gpus)
    yield toolkit(nvidia)
    if facts.engine:
        yield _docker(facts.engine, nvidia)
    if facts.podman and not facts.podman.trouble:
        yield _podman(nvidia)


def driver(nvidia: Nvidia) -> Finding:
    """Return whether there are GPUs, and a driver that runs them."""
    match nvidia.driver:
        case "absent":
            return _without_driver(nvidia)
        case "silent":
            return lack(
                "GPUs",
                f"nvidia-smi has not answered within {SMI_TIMEOUT_S:.0f} s",
                "as root: nvidia-smi -pm 1 (keeps the driver loaded); if that hangs as well: reboot",
            )
        case "failing":
            return _failing(nvidia.said)
        case "works":
            return _working(nvidia)


def use(gpus: tuple[Gpu, ...]) -> Finding:
    """Return which GPUs others are using."""
    busy = [f"{place} ({_load(gpu)})" for place, gpu in enumerate(gpus) if _is_busy(gpu)]
    free = [place for place, gpu in enumerate(gpus) if not _is_busy(gpu)]
    if not busy:
        return ok("use of GPUs", "all idle")
    found = f"busy: {', '.join(busy)}; idle: {', '.join(map(str, free)) or 'none'}"
    who = "nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv (shows whose they are)"
    if free:
        return note("use of GPUs", found, f"evaldock run … -o execution.gpus='{free}'")
    return lack("use of GPUs", found, who)


def toolkit(nvidia: Nvidia) -> Finding:
    """Return which parts of the container toolkit are here, and whether its CDI files fit the driver."""
    kit = nvidia.toolkit
    parts = {"runtime hook": kit.hook, "nvidia-ctk": kit.ctk, "CDI files": bool(kit.specs)}
    have = [name for name, there in parts.items() if there]
    if not have:
        return lack("container toolkit", "none of it is here", _TOOLKIT)
    drivers = {gpu.driver for gpu in nvidia.gpus}
    if kit.spec_drivers and drivers and not drivers & set(kit.spec_drivers):
        made_for = ", ".join(kit.spec_drivers)
        return lack("container toolkit", f"CDI files made for driver {made_for}, which is not loaded", _CDI)
    return ok("container toolkit", ", ".join(have))


def _without_driver(nvidia: Nvidia) -> Finding:
    if not nvidia.nodes and not nvidia.boards:
        return note("GPUs", "no NVIDIA GPU; models are served on the CPU")
    seen = f"device nodes {', '.join(nvidia.nodes)}" if nvidia.nodes else f"{nvidia.boards} on the bus"
    return lack(
        "GPUs", f"{seen}, and no driver (no nvidia-smi)", "apt-get install nvidia-driver, then reboot"
    )


def _failing(said: str) -> Finding:
    for words, (meaning, fix) in _FAILURES.items():
        if words in said.lower():
            return lack("GPUs", f"{meaning} ({said})", fix)
    return lack("GPUs", f"nvidia-smi fails: {said}", "dmesg | grep -i nvrm; then install the driver again")


def _working(nvidia: Nvidia) -> Finding:
    names = ", ".join(nvidia.devices)
    versions = sorted({gpu.driver for gpu in nvidia.gpus})
    found = f"{names}; driver {', '.join(versions) or 'unknown'}"
    old = [version for version in versions if _major(version) < _OLDEST_DRIVER]
    if old:
        fix = f"apt-get install nvidia-driver ({_OLDEST_DRIVER} or later), then reboot"
        return lack("GPUs", f"{found}: wrong driver, too old for CUDA 12", fix)
    return ok("GPUs", found)


def _docker(engine: Engine, nvidia: Nvidia) -> Finding:
    kit = nvidia.toolkit
    ways = {
        "the nvidia runtime": "nvidia" in engine.info.runtimes,
        "the runtime hook": kit.hook and engine.is_local and not engine.is_podman,
        "CDI": bool(engine.info.cdi_spec_dirs) and bool(kit.specs),
    }
    have = [name for name, there in ways.items() if there]
    if not have:
        return lack("GPUs in the engine", "it knows no way to them", _RUNTIME)
    return ok("GPUs in the engine", f"by {', '.join(have)}")


def _podman(nvidia: Nvidia) -> Finding:
    if not nvidia.toolkit.specs:
        return lack("GPUs in podman", "no CDI file names them", _CDI)
    return ok("GPUs in podman", f"by {', '.join(map(str, nvidia.toolkit.specs))}")


def _is_busy(gpu: Gpu) -> bool:
    return gpu.processes > 0 or (gpu.used_mib or 0) > _BUSY_MIB


def _load(gpu: Gpu) -> str:
    processes = "process" if gpu.processes == 1 else "processes"
    return f"{gpu.processes} {processes}, {gpu.used_mib or 0} of {gpu.total_mib or 0} MiB"


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else _OLDEST_DRIVER
