"""Calls that never return are given up and do not keep the process alive."""

import subprocess
import sys
import threading
import time

import pytest

from evaldock.diagnosis.parallel import Race


def test_a_call_that_never_returns_is_given_up_beside_the_others() -> None:
    never = threading.Event()
    started_s = time.monotonic()
    race = Race(0.3)
    stuck = [race.start(never.wait, late="late") for _ in range(3)]
    quick = race.start(lambda: "here", late="late")

    assert [result() for result in stuck] == ["late", "late", "late"]
    assert quick() == "here"
    assert time.monotonic() - started_s < 2
    never.set()


def test_what_a_call_raises_is_raised_where_its_result_is_asked_for() -> None:
    result = Race(5).start(lambda: 1 // 0, late=0)
    with pytest.raises(ZeroDivisionError):
        result()


def test_a_stuck_call_does_not_keep_the_process_alive() -> None:
    code = (
        "import time; from evaldock.diagnosis.parallel import Race;"
        "Race(0).start(lambda: time.sleep(60), late=0)()"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=20, check=False)
    assert done.returncode == 0
