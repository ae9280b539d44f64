"""What an endpoint does wrong: which class it is, what the harness gets, how often it is asked."""

import asyncio
import gc
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.kit.upstreams import KEY, asked, asking, terms, upstream_at

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply

pytestmark = pytest.mark.slow  # starts servers, or waits


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Over connections of our own, and over the library's."""
    return str(request.param)


def asked_of(endpoint: RunningEndpoint, rule: dict[str, object], **options: Any) -> tuple[Reply, int]:
    """Return the reply under a fault, and how many requests the endpoint saw."""
    endpoint.reset(faults=[rule])
    reply = asked(endpoint.url, **options)
    return reply, endpoint.stats()["requests"]


def refuses(reply: Reply) -> None:
    """Assert that a reply can be taken for nothing but an error that is final."""
    assert reply.kind is not None
    assert reply.status >= 400
    assert reply.headers["x-should-retry"] == "false"
    assert "retry-after" not in reply.headers
    error = orjson.loads(reply.body)["error"]
    assert error["message"]
    assert "choices" not in orjson.loads(reply.body)


@pytest.mark.parametrize(
    ("rule", "kind", "status"),
    [
        ({"action": "status", "status": 500}, "status", 500),
        ({"action": "status", "status": 503}, "status", 503),
        ({"action": "status", "status": 429}, "status", 429),
        ({"action": "status", "status": 408}, "status", 408),
        ({"action": "status", "status": 409}, "status", 409),
        ({"action": "status", "status": 425}, "status", 425),
        ({"action": "hang"}, "timeout", 504),
        ({"action": "slow_bytes", "interval_ms": 1000}, "idle", 504),
        ({"action": "slow_bytes", "interval_ms": 50}, "timeout", 504),
        ({"action": "reset", "at": "half"}, "cut", 502),
        ({"action": "truncate"}, "cut", 502),
        ({"action": "invalid_json"}, "invalid", 502),
        ({"action": "empty_body"}, "invalid", 502),
        ({"action": "html"}, "status", 502),
        ({"action": "html", "status": 200}, "invalid", 502),
        ({"action": "error_answer"}, "invalid", 502),
    ],
    ids=str,
)
def test_failure_that_may_pass_is_retried_and_then_told(
    endpoint: RunningEndpoint, rule: dict[str, object], kind: str, status: int
) -> None:
    reply, requests = asked_of(endpoint, rule, on=terms(attempt_s=0.3, retries=1))
    assert (reply.kind, reply.status, reply.attempts, requests) == (kind, status, 2, 2)
    refuses(reply)


@pytest.mark.parametrize(
    "action", ["status", "hang", "reset", "truncate", "invalid_json", "empty_body", "html"]
)
def test_one_failure_costs_nothing(endpoint: RunningEndpoint, action: str) -> None:
    undisturbed = asked(endpoint.url)
    reply, _ = asked_of(endpoint, {"match": {"first_n": 1}, "action": action}, on=terms(attempt_s=0.3))
    assert (reply.kind, reply.attempts, reply.body) == (None, 2, undisturbed.body)


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 413, 422])
def test_other_status_is_final_at_once(endpoint: RunningEndpoint, status: int) -> None:
    reply, requests = asked_of(endpoint, {"action": "status", "status": status})
    assert (reply.kind, reply.attempts, requests) == ("status", 1, 1)
    assert reply.status == (status if status >= 400 else 502)
    assert f"status {status}" in reply.message
    refuses(reply)


def test_endpoints_own_error_reaches_the_harness(endpoint: RunningEndpoint) -> None:
    reply, _ = asked_of(endpoint, {"action": "status", "status": 422})
    assert orjson.loads(reply.body)["error"]["code"] == "422"
    assert reply.message == "status 422: Injected fault: status 422."


@pytest.mark.parametrize(
    "action", ["wrong_content_type", "null_content", "no_usage", "reordered", "duplicate"]
)
def test_odd_answer_is_an_answer(endpoint: RunningEndpoint, action: str) -> None:
    reply, _ = asked_of(endpoint, {"action": action}, what=asking(n=2))
    assert reply.kind is None
    assert reply.headers["content-type"] == "application/json"
    assert reply.tree == orjson.loads(reply.body)


def test_long_answer_is_taken_whole_and_a_longer_one_than_allowed_is_not(endpoint: RunningEndpoint) -> None:
    reply, _ = asked_of(endpoint, {"action": "huge"}, on=terms(attempt_s=10))
    assert reply.kind is None
    assert len(reply.body) > 10 * 2**20
    endpoint.reset(faults=[{"action": "huge", "size_bytes": 65 * 2**20}])
    reply = asked(endpoint.url, on=terms(attempt_s=10))
    assert (reply.kind, reply.attempts) == ("invalid", 1)
    assert "longer than" in reply.message


def test_same_body_failing_five_times_is_final_in_the_whole_session(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "status", "status": 500, "match": {"body_contains": "poison"}}])

    async def ask() -> list[Reply]:
        async with upstream_at(endpoint.url) as upstream:
            bad = [await upstream.ask(asking("poison"), terms(retries=2)) for _ in range(3)]
            return [*bad, await upstream.ask(asking("fine"), terms())]

    replies = asyncio.run(ask())
    assert [reply.attempts for reply in replies] == [3, 2, 0, 1]
    assert [reply.status for reply in replies] == [500, 500, 500, 200]
    assert endpoint.stats()["requests"] == 6
    assert "5 times" in replies[1].message
    assert replies[2].body == replies[1].body


def test_refusals_for_being_too_many_do_not_count_against_the_body(endpoint: RunningEndpoint) -> None:
    reply, requests = asked_of(endpoint, {"action": "status", "status": 429}, on=terms(retries=6))
    assert (reply.attempts, requests) == (7, 7)


def test_good_answer_forgets_the_failures_before_it(endpoint: RunningEndpoint) -> None:
    endpoint.reset(
        faults=[{"action": "status", "status": 500, "match": {"nth": n}} for n in (1, 2, 3, 5, 6, 7)]
    )

    async def ask() -> list[Reply]:
        async with upstream_at(endpoint.url) as upstream:
            return [await upstream.ask(asking(), terms(retries=5)) for _ in range(2)]

    assert [reply.kind for reply in asyncio.run(ask())] == [None, None]


def test_retries_of_the_run_are_bounded(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "status", "status": 503}])

    async def ask() -> list[Reply]:
        async with upstream_at(endpoint.url, retry_budget=0) as upstream:
            return await asyncio.gather(
                *(upstream.ask(asking(str(n)), terms(retries=3, attempt_s=9)) for n in range(60))
            )

    replies = asyncio.run(ask())
    assert endpoint.stats()["requests"] == 160
    budget = next(reply for reply in replies if reply.kind == "budget")
    assert budget.status == 503
    assert "retries of the whole run are used up" in budget.message


def test_total_time_bounds_all_attempts(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "hang"}])
    began = time.monotonic()
    reply = asked(endpoint.url, on=terms(attempt_s=0.2, retries=99, total_s=0.5))
    assert time.monotonic() - began < 1.5
    assert reply.kind == "timeout"
    assert 2 <= reply.attempts <= 5


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody else takes."""
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the endpoint may listen there
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_nobody_there_is_retried_as_long_as_granted_and_not_counted(scheme: str, closed_port: int) -> None:
    began = time.monotonic()
    reply = asked(f"{scheme}://127.0.0.1:{closed_port}", on=terms(retries=0, total_s=0.3))
    assert 0.2 < time.monotonic() - began < 1.3
    assert (reply.kind, reply.status) == ("connect", 502)
    assert reply.attempts > 2
    assert "refused" in reply.message.lower()
    refuses(reply)


def test_unknown_name_is_a_failure_to_connect(scheme: str) -> None:
    reply = asked(f"{scheme}://evaldock.invalid", on=terms(total_s=0.2))
    assert reply.kind == "connect"


def test_endpoint_that_comes_up_late_is_waited_for(closed_port: int) -> None:
    async def ask() -> tuple[list[Reply], list[bool]]:
        async with upstream_at(f"http://127.0.0.1:{closed_port}", readiness_timeout_s=20) as upstream:
            asks = [asyncio.create_task(upstream.ask(asking(str(n)), short)) for n in range(20)]
            await asyncio.sleep(0.9)
            waiting = [upstream.is_waiting]
            with ExitStack() as stack:
                late = running_endpoint(port=closed_port, faults=[failing])
                await asyncio.to_thread(stack.enter_context, late)
                replies = await asyncio.gather(*asks)
                waiting.append(upstream.is_waiting)
            return replies, waiting

    # shorter than the wait, which is granted besides: there is still time for another attempt after it
    short = terms(retries=1, attempt_s=0.8, total_s=0.8)
    failing = {"action": "status", "status": 500, "match": {"first_n": 1}}
    replies, waiting = asyncio.run(ask())
    assert {reply.kind for reply in replies} == {None}
    assert waiting == [True, False]


def test_key_goes_out_and_never_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    with running_endpoint(api_key_name="UPSTREAM_KEY") as endpoint:
        assert asked(endpoint.url, key=KEY).kind is None
        assert asked(endpoint.url, key=None).status == 401
        echoed = asked(endpoint.url, key=KEY, what=asking(model=KEY))  # the error names the model
    assert echoed.status == 404
    assert KEY.encode() not in echoed.body
    assert KEY not in echoed.message
    assert b"[redacted]" in echoed.body


def test_many_failures_leave_no_task_and_no_descriptor(endpoint: RunningEndpoint) -> None:
    endpoint.reset(
        faults=[{"action": "hang", "match": {"share": 0.3}}, {"action": "reset", "match": {"share": 0.5}}]
    )

    async def ask() -> tuple[int, int]:
        before = open_files()
        async with upstream_at(endpoint.url) as upstream:
            asks = [
                asyncio.create_task(upstream.ask(asking(str(n)), terms(attempt_s=0.1, retries=1)))
                for n in range(200)
            ]
            await asyncio.sleep(0.15)
            for task in asks[::5]:
                task.cancel()
            await asyncio.gather(*asks, return_exceptions=True)
            assert upstream.in_flight == 0
        await asyncio.sleep(0.05)
        gc.collect()
        return open_files() - before, len(asyncio.all_tasks())

    assert asyncio.run(ask()) == (0, 1)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_other_routes_pass_as_they_are(endpoint: RunningEndpoint) -> None:
    models = asked(endpoint.url, what=Asking(method="GET", path="/models", body=b"", headers={}))
    assert models.tree is not None
    assert models.tree["data"][0]["id"] == "fake-model"
    body = orjson.dumps({"prompt": "a b"})
    beside = Asking(method="POST", path="/tokenize", body=body, headers={}, is_beside=True)
    assert asked(endpoint.url, what=beside).status == 200
    unknown = Asking(method="GET", path="/no/such%20place?a=%2F", body=b"", headers={})
    assert "/no/such place" in asked(endpoint.url, what=unknown).message


def test_embeddings_without_data_are_no_answer(endpoint: RunningEndpoint) -> None:
    body = orjson.dumps({"model": "fake-model", "input": "x"})
    right = Asking(method="POST", path="/embeddings", body=body, headers={}, expects="embeddings")
    assert asked(endpoint.url, what=right).kind is None
    wrong = Asking(method="GET", path="/health", body=b"", headers={}, expects="embeddings")
    assert asked(endpoint.url, what=wrong, on=terms(retries=0)).kind in ("invalid", "status")
