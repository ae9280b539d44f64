"""Whether an engine answers."""

import time
from pathlib import Path

import pytest
from tests.kit.fake_engine import fake_engine, silent_port, silent_socket

from evaldock.supply import dockerd


def test_an_engine_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dockerd, "_PING_TIMEOUT_S", 1)
    started_s = time.monotonic()
    with silent_port() as port, silent_socket(tmp_path) as host:
        assert not dockerd.answers(f"tcp://127.0.0.1:{port}")
        assert not dockerd.answers(host)
    assert time.monotonic() - started_s < 4

    with fake_engine(tmp_path) as host:
        assert dockerd.answers(host)
