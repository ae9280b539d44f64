"""Secrets: names only."""

from pathlib import Path

import pytest
from tests.unit.diagnosis.findings import named

from evaldock.diagnosis import secrets
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Section
from evaldock.diagnosis.repair import repair

CANARY = "sk-canary-4711"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def found() -> Section:
    return Section(title="secrets", findings=tuple(secrets.findings(Facts(output=Path("results")))))


def test_variables_are_named_and_neither_shown_nor_measured() -> None:
    (finding,) = secrets.variables({"HF_TOKEN": CANARY, "OPENAI_API_KEY": "", "PATH": "x"})
    assert finding.found.startswith("set: HF_TOKEN; not set: ")
    assert "OPENAI_API_KEY" in finding.found.partition("not set")[2]
    assert CANARY not in repr(finding)
    assert str(len(CANARY)) not in finding.found


def test_a_key_with_a_line_end_is_a_lack_without_its_value() -> None:
    findings = list(secrets.variables({"HF_TOKEN": f"{CANARY}\n"}))
    finding = named(findings, "key HF_TOKEN")
    assert finding.state == "lack"
    assert CANARY not in repr(findings)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_netrc_that_others_can_use_is_closed_by_fix(home: Path, mode: int) -> None:
    netrc = home / ".netrc"
    netrc.write_text(f"machine x login y password {CANARY}\n", encoding="utf-8")
    netrc.chmod(mode)
    finding = named(found().findings, f"logins in {netrc}")
    assert (finding.state, finding.fix) == ("lack", f"chmod 600 {netrc}")
    assert CANARY not in repr(found())

    said: list[str] = []
    repairs = repair([found()], said.append)

    assert said == [f"logins in {netrc}: chmod 600 {netrc}"]
    assert [(done.done, done.error) for done in repairs] == [(f"chmod 600 {netrc}", None)]
    assert netrc.stat().st_mode & 0o777 == 0o600
    assert named(found().findings, f"logins in {netrc}").state == "ok"


def test_a_file_behind_a_link_is_left_to_its_owner(home: Path, tmp_path: Path) -> None:
    real = tmp_path / "shared-netrc"
    real.write_text("", encoding="utf-8")
    real.chmod(0o644)
    (home / ".netrc").symlink_to(real)
    finding = named(found().findings, f"logins in {home / '.netrc'}")
    assert (finding.state, finding.remedy) == ("lack", None)


def test_files_of_docker_and_of_the_hub_are_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (home / ".docker/config.json", home / ".cache/huggingface/token"):
        path.parent.mkdir(parents=True)
        path.touch(mode=0o600)
    names = {finding.what for finding in found().findings}
    assert {f"logins in {home}/.docker/config.json", f"logins in {home}/.cache/huggingface/token"} <= names
    monkeypatch.setenv("HF_HOME", str(home / "elsewhere"))
    assert f"logins in {home}/.cache/huggingface/token" not in {finding.what for finding in found().findings}
