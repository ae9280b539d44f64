"""Remedies: announced first, then carried out, and a failing one stops no other."""

import os
from pathlib import Path

import pytest
from tests.kit.programs import fake_program, only_programs

from evaldock.diagnosis.finding import Finding, Remedy, Section, lack, ok
from evaldock.diagnosis.packages import packages
from evaldock.diagnosis.repair import fixable, repair


def section(*findings: Finding) -> Section:
    return Section(title="any", findings=findings)


def test_only_lacks_with_a_remedy_can_be_fixed() -> None:
    remedy = Remedy(commands=(("true",),))
    mendable = lack("a", "x", "true", remedy=remedy)
    assert fixable([section(ok("c", "x"), lack("b", "x", "ask somebody"), mendable)]) == [mendable]


def test_a_failing_remedy_is_told_and_stops_no_other(tmp_path: Path) -> None:
    made = tmp_path / "made"
    said: list[str] = []
    wrong = lack("a", "x", "?", remedy=Remedy(commands=(("mkdir", str(tmp_path)), ("touch", f"{made}-not"))))
    absent = lack("b", "x", "?", remedy=Remedy(commands=(("no-such-program",),)))
    right = lack("c", "x", "?", remedy=Remedy(commands=(("mkdir", str(made)),)))

    repairs = repair([section(wrong, absent, right)], said.append)

    assert [bool(done.error) for done in repairs] == [True, True, False]
    assert "File exists" in (repairs[0].error or "")
    assert made.is_dir()
    assert not Path(f"{made}-not").exists()
    assert said[0] == f"a: mkdir {tmp_path}; touch {made}-not"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_missing_packages_are_installed_by_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder, log = tmp_path / "bin", tmp_path / "log"
    fake_program(folder, "dpkg-query", f"[ -e {log} ] && echo 'two install ok installed'; true")
    fake_program(folder, "apt-get", f'echo "$*" >> {log}')
    only_programs(folder, monkeypatch)
    said: list[str] = []

    repairs = repair([section(packages("tools", ("two",)))], said.append)

    assert repairs[0].error is None
    assert said[0] == "tools: apt-get install --no-install-recommends two"
    assert log.read_text(encoding="utf-8").splitlines() == [
        "update",
        "install --yes --no-install-recommends two",
    ]
    assert packages("tools", ("two",)).state == "ok"
