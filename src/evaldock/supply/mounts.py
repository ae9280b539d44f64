"""Mounts that tools leave behind below folders of ours."""

import subprocess
from pathlib import Path


def mounts_below(folder: Path) -> list[str]:
    """Return the mount points inside a folder, itself included, innermost first."""
    # The kernel writes blanks and the like as octal escapes.
    text = Path("/proc/self/mounts").read_text(encoding="ascii", errors="backslashreplace")
    points = [line.split()[1].encode().decode("unicode_escape") for line in text.splitlines()]
    return sorted((point for point in points if Path(point).is_relative_to(folder)), key=len, reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything inside a folder; a mount still in use goes when its user ends."""
    for point in mounts_below(folder):
        subprocess.run(["umount", "--lazy", point], capture_output=True, timeout=30, check=False)
