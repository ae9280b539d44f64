"""Servers asked and judged, local ones that the test runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
from tests.kit.fake_engine import silent_port
from tests.kit.raw_server import raw_server

from evaldock.diagnosis import clock, contacts, reachability
from evaldock.diagnosis.contacts import Contact, Target, contact, registry_host
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding


@contextmanager
def answering(status: int, *headers: str) -> Iterator[str]:
    lines = "\r\n".join([f"HTTP/1.1 {status} Any", "Content-Length: 0", "Connection: close", *headers])

    def behave(connection: object, _ended: object) -> None:
        connection.recv(65536)  # type: ignore[attr-defined]
        connection.sendall(f"{lines}\r\n\r\n".encode())  # type: ignore[attr-defined]
        connection.close()  # type: ignore[attr-defined]

    with raw_server(behave) as address:
        yield address


def judged(kind: contacts.Kind, url: str) -> Finding:
    return reachability.judged(contact(Target(kind=kind, url=url)))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        ("index", 200, "ok"),
        ("index", 302, "ok"),
        ("index", 405, "ok"),
        ("index", 401, "lack"),
        ("index", 403, "lack"),
        ("index", 503, "note"),
        ("mirror", 404, "note"),
        ("registry", 401, "ok"),
        ("registry", 403, "lack"),
        ("hub", 200, "ok"),
    ],
)
def test_what_a_status_means(kind: contacts.Kind, status: int, state: str) -> None:
    with answering(status) as address:
        assert judged(kind, address).state == state


def test_nobody_there_is_a_note_that_says_what_does_not_work() -> None:
    finding = judged("index", "http://127.0.0.1:1/simple")
    assert (finding.state, finding.what) == ("note", "package index 127.0.0.1:1")
    assert "nobody listens there: evaldock build gets no Python packages" in finding.found
    assert "pip config set" in (finding.fix or "")


def test_a_name_that_nobody_knows_is_told_from_a_closed_port() -> None:
    finding = judged("hub", "https://hub.invalid")
    assert finding.found.startswith("its name is not known here")


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "CONTACT_TIMEOUT_S", 0.3)
    with silent_port() as port:
        finding = judged("registry", f"http://127.0.0.1:{port}/v2/")
    assert finding.found.startswith("no answer in time: published images cannot be pulled")


def test_plain_answers_on_a_tls_port_are_no_trusted_certificate() -> None:
    with answering(200) as address:
        finding = judged("index", address.replace("http://", "https://"))
    assert finding.state == "lack"
    assert "SSL_CERT_FILE" in (finding.fix or "")


def test_logins_of_an_address_are_never_shown() -> None:
    for url in ("http://canary:canary@127.0.0.1:1/canary/simple", "http://canary:canary@[broken/simple"):
        finding = judged("index", url)
        assert "canary" not in f"{finding.what}{finding.found}{finding.fix}", finding


def test_a_local_index_folder_must_be_there(tmp_path: Path) -> None:
    assert judged("index", tmp_path.as_uri()).state == "ok"
    assert judged("index", f"{tmp_path.as_uri()}/gone").state == "lack"


def test_targets_come_from_the_callers_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = tmp_path / "xdg_config_home" / "evaldock"
    site.mkdir()
    text = "mirrors: [{from: evaldock, to: 'mirror.example:5000/eval'}]\n"
    (site / "registry.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")

    found = {(target.kind, target.host) for target in contacts.targets() if isinstance(target, Target)}

    wanted = {("index", "index.example"), ("registry", "mirror.example:5000"), ("hub", "hub.example")}
    assert wanted <= found
    assert "mirror" in {kind for kind, _ in found}


def test_settings_that_cannot_be_read_are_a_lack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("index-url = without a section\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))

    broken = [target for target in contacts.targets() if isinstance(target, Contact)]

    assert "index" in {entry.target.kind for entry in broken}
    assert reachability.judged(broken[0]).state == "lack"


@pytest.mark.parametrize(
    ("repository", "host"),
    [
        ("evaldock/lm-eval", None),
        ("registry.example/evaldock/lm-eval", "registry.example"),
        ("localhost:5000/lm-eval", "localhost:5000"),
        ("localhost/x", "localhost"),
        ("lm-eval", None),
    ],
)
def test_the_registry_of_a_repository(repository: str, host: str | None) -> None:
    assert registry_host(repository) == host


def test_offline_asks_nobody_and_says_so() -> None:
    (finding,) = reachability.findings(Facts(output=Path("results"), contacts=None))
    assert (finding.state, finding.found) == ("note", "nobody was asked (--offline)")


@pytest.mark.parametrize(
    ("ahead_s", "age_s", "state"), [(0, 0, "ok"), (-7200, 7200, "ok"), (7200, 0, "lack"), (-7200, 0, "lack")]
)
def test_the_clock_is_compared_with_the_servers(ahead_s: int, age_s: int, state: str) -> None:
    date = formatdate(time.time() + ahead_s, usegmt=True)
    with answering(200, f"Date: {date}", f"Age: {age_s}") as address:
        answer = contact(Target(kind="index", url=address))

    findings = list(clock.findings(Facts(output=Path("results"), contacts=(answer,))))

    assert findings[1].state == state
    assert state == "ok" or "120 minutes" in findings[1].found


def test_one_wrong_server_does_not_make_our_clock_wrong() -> None:
    target = Target(kind="index", url="https://index.example")
    answers = tuple(Contact(target=target, status=200, ahead_s=ahead_s) for ahead_s in (-90000.0, 0.4))
    findings = list(clock.findings(Facts(output=Path("results"), contacts=answers)))
    assert findings[1].state == "ok"


def test_a_clock_at_its_beginning_is_wrong() -> None:
    assert clock.sane(0.0).state == "lack"
    assert clock.sane(time.time()).state == "ok"
