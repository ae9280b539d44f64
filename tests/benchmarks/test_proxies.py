"""What the benchmark of the adapter measures with is right itself."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from benchmarks.proxies.load import BODY_BYTES, Load, put
from benchmarks.proxies.processes import Running, started
from benchmarks.proxies.table import Goal, Table
from benchmarks.proxies.upstream import chat_answer, logprobs_answer

BURN = "import time\nwhile time.process_time() < 0.3: pass"
BURNING_TREE = f"""
import subprocess, sys, threading, time
thread = threading.Thread(target=lambda: exec({BURN!r}))
thread.start()
thread.join()
subprocess.run([sys.executable, "-c", {BURN + chr(10) + "print(flush=True); time.sleep(60)"!r}])
"""


def test_processor_time_counts_ended_threads_and_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started([sys.executable, "-c", BURNING_TREE], log=log) as process:
        running = Running(pid=process.pid, port=0)
        while not log.read_bytes():
            time.sleep(0.01)
        assert running.cpu_s() == pytest.approx(0.6, abs=0.15)  # and the interpreters' own start


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200 if len(self.bodies) % 5 else 500)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        return


def test_every_request_is_another_one_and_failures_are_counted() -> None:
    Recorder.bodies = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        outcome = put(Load(url=url, connections=4, requests=50, first=7))
        server.shutdown()
    assert (outcome.sent, outcome.answered, outcome.errors) == (50, 40, 10)
    assert len(set(Recorder.bodies)) == 50
    assert {len(body) for body in Recorder.bodies} == {BODY_BYTES}
    assert all(json.loads(body)["messages"][0]["role"] == "user" for body in Recorder.bodies)


def test_answers_have_the_sizes_that_the_tables_name() -> None:
    assert len(chat_answer()) == pytest.approx(1000, rel=0.1)
    assert len(logprobs_answer()) == pytest.approx(170_000, rel=0.1)


@pytest.mark.parametrize(("baseline", "is_void"), [([100.0, 109.0, 300.0], False), ([100.0, 111.0], True)])
def test_a_run_is_void_where_the_two_best_of_the_baseline_differ(
    baseline: list[float], is_void: bool
) -> None:
    goal = Goal(what="ratio", value=2.0, bound=1.6)
    table = Table(title="t", columns=("a", "b"), rows=[("x", "1")], goals=[goal], baseline=baseline)
    assert table.is_void is is_void
    assert "| ratio | ≤ 1.6 | 2 | missed by 25% |" in table.text()
