"""How many processors this process may use."""

import math
import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def available_processors(limit_file: Path = CGROUP_LIMIT) -> int:
    """Return the processors of the affinity mask, fewer where a container (cgroup v2) limits their time."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = limit_file.read_text().split()
    except (OSError, ValueError):  # no such limit, or cgroup v1
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, math.ceil(int(quota) / int(period))))
