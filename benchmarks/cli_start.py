"""CPU of `evaldock ls tasks` against the bare import of its libraries (goal G5: at most 2.0).

Both are alternated for seven rounds; the least CPU time of each whole process counts. The run is void when
the baseline's two least values differ by more than 10 %.
"""

import resource
import subprocess
import sys

ROUNDS = 7
BASELINE = [sys.executable, "-c", "import click, yaml, pydantic"]
OURS = [sys.executable, "-c", "from evaldock.cli.main import main; main()", "ls", "tasks"]


def cpu_s(argv: list[str]) -> float:
    """Return user and system time of one process in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print one table; exit 1 when the run is void."""
    cpu_s(BASELINE), cpu_s(OURS)  # warm the page cache
    pairs = [(cpu_s(BASELINE), cpu_s(OURS)) for _ in range(ROUNDS)]
    baseline, ours = (sorted(column) for column in zip(*pairs, strict=True))
    print("| command | least CPU ms | spread ms | ratio |")
    print("| --- | ---: | ---: | ---: |")
    rows = (("import click, yaml, pydantic", baseline), ("evaldock ls tasks", ours))
    for name, values in rows:
        spread = (values[-1] - values[0]) * 1000
        print(f"| {name} | {values[0] * 1000:.0f} | {spread:.0f} | {values[0] / baseline[0]:.2f} |")
    is_void = baseline[1] > baseline[0] * 1.1
    print("void: the baseline's two least values differ by more than 10 %" if is_void else "valid")
    return int(is_void)


if __name__ == "__main__":
    sys.exit(main())
