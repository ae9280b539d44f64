"""The adapter beside its peers: goals G1 to G4, each a table. `python -m benchmarks.adapter [--only G1]`.

Installs NeMo Evaluator 0.2.8 and 0.3.0 and haproxy into evaldock's cache folder, where they are not yet.
Contenders alternate in one run for seven rounds; the best value of each counts, and the spread is shown. CPU
time is that of a contender's whole process tree; the endpoint and the load generator are not counted.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.proxies import cost, crowd, latency, rerun
from benchmarks.proxies.lab import FULL, QUICK, Effort
from benchmarks.proxies.peers import work_folder
from benchmarks.proxies.processes import raise_file_limit
from benchmarks.proxies.table import Table

TABLES: Mapping[str, Callable[[Path, Effort], Table]] = {
    "G1": cost.requests,
    "G1-large": cost.large_answers,
    "G2": latency.added,
    "G3": crowd.crowd,
    "G4": rerun.hits,
    "G4-rerun": rerun.whole_run,
}


def main() -> int:
    """Print the tables; exit 1 when one is void, lacks a contender or misses a goal."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.adapter")
    parser.add_argument("--only", action="append", choices=TABLES, help="this table; may be repeated")
    parser.add_argument("--no-peers", action="store_true", help="ours and the bare stack only")
    parser.add_argument(
        "--quick", action="store_true", help="one short round each: proves nothing but itself"
    )
    options = parser.parse_args()
    raise_file_limit()
    effort = replace(QUICK if options.quick else FULL, peers=not options.no_peers)
    tables = [_printed(name, effort) for name in options.only or TABLES]
    fine = [not table.is_void and all(goal.is_reached for goal in table.goals) for table in tables]
    return int(not options.quick and not all(fine))


def _printed(name: str, effort: Effort) -> Table:
    with work_folder() as folder:
        table = TABLES[name](folder, effort)
    print(table.text(), flush=True)
    return table


if __name__ == "__main__":
    sys.exit(main())
