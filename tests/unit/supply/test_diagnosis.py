"""What `evaldock doctor` finds."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evaldock.supply import diagnosis
from evaldock.supply.lock import ImagesLock, LockedImage, write_lock

DIGEST = "sha256:" + "a" * 64


class FakeEngine(ThreadingHTTPServer):
    """An engine that answers what a doctor asks."""

    daemon_threads = True

    def __init__(self, info: dict[str, object]) -> None:
        self.answers = {
            "_ping": "OK",
            "version": {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"},
            "info": info,
        }
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: FakeEngine

    def do_GET(self) -> None:
        body = json.dumps(self.server.answers[self.path.rpartition("/")[2]]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def fake_engine(info: dict[str, object]) -> Iterator[str]:
    with FakeEngine(info) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("enforced", [True, False])
def test_engine_is_named_and_asked_for_its_limits(monkeypatch: pytest.MonkeyPatch, enforced: bool) -> None:
    with fake_engine({"MemoryLimit": enforced, "PidsLimit": True}) as host:
        monkeypatch.setenv("DOCKER_HOST", host)

        assert diagnosis.engine().found == f"20.10.24 (API 1.41) at {host}"
        assert diagnosis.limits().ok is enforced


def test_dead_docker_host_is_a_finding_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")

    first = diagnosis.diagnose()[0]

    assert (first.what, first.ok, first.needed) == ("engine", False, True)


def test_every_lack_has_a_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    lacks = [finding for finding in diagnosis.diagnose() if not finding.ok]

    assert {"own engine: iptables", "own engine: packages", "build tools", "images"} <= {
        finding.what for finding in lacks
    }
    assert [finding.what for finding in lacks if not finding.fix and finding.what != "container limits"] == []


@pytest.mark.parametrize(("controllers", "ok"), [("cpu memory pids\n", True), ("cpu\n", False)])
def test_unified_control_groups(tmp_path: Path, controllers: str, ok: bool) -> None:
    (tmp_path / "cgroup.controllers").write_text(controllers, encoding="ascii")

    assert diagnosis.cgroups(tmp_path).ok is ok


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
    assert diagnosis.cgroups(tmp_path).found == f"not at {tmp_path}: pids"

    (tmp_path / "pids").mkdir()

    assert diagnosis.cgroups(tmp_path).ok


def test_machine_without_control_groups(tmp_path: Path) -> None:
    assert not diagnosis.cgroups(tmp_path / "nothing").ok


def test_few_open_files_are_too_few() -> None:
    assert not diagnosis.open_files(1024).ok
    assert diagnosis.open_files(1 << 20).ok


def test_clock_at_its_beginning_is_wrong() -> None:
    assert not diagnosis.clock(0.0).ok
    assert diagnosis.clock().ok


def test_bundle_without_authorities_is_a_lack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "empty.pem"
    bundle.write_text("not a certificate\n", encoding="ascii")
    for name in ("PIP_CERT", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CERT", str(bundle))

    finding = diagnosis.certificates()

    assert (finding.ok, finding.found) == (False, f"0 authorities in {bundle}")


def test_locked_image_that_the_store_lost_is_named() -> None:
    image = LockedImage(
        name="lm-eval",
        kind="harness",
        version="1",
        digest=DIGEST,
        image_id=DIGEST,
        size_bytes=1,
        input_hash=DIGEST,
    )
    write_lock(ImagesLock().replacing(image))

    finding = diagnosis.images()

    assert not finding.ok
    assert "lm-eval" in finding.found
    assert finding.fix == "evaldock build"
