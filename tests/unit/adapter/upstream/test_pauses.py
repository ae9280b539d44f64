"""How long is waited before the next attempt."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.upstreams import asked, terms

from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.adapter.upstream.backoff import asked_pause_s, backoff_s, obeying_s

pytestmark = pytest.mark.slow  # starts processes, or waits

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": formatdate(NOW + 9, usegmt=True)}, 9.0),
        # a clock that is an hour wrong says the same as a right one
        ({"retry-after": formatdate(NOW + 3609, usegmt=True), "date": formatdate(NOW + 3600)}, 9.0),
        ({"retry-after": formatdate(NOW - 9, usegmt=True)}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "soon-ish; -1"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 99 Foo 2026 99:99:99 GMT"}, None),
        ({"retry-after": "5\x1f"}, 5.0),
        ({}, None),
    ],
)
def test_pause_asked_for_is_understood_in_each_form(headers: dict[str, str], pause_s: float | None) -> None:
    assert asked_pause_s(headers, NOW) == pause_s


@given(st.text())
def test_no_header_breaks_it(value: str) -> None:
    for name in ("retry-after", "retry-after-ms", "date"):
        asked_pause_s({"retry-after": "7", name: value}, NOW)


def test_backoff_doubles_with_full_jitter_up_to_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaldock_entrypoints.adapter.upstream.backoff.BASE_S", 0.5)
    longest = [max(backoff_s(retries) for _ in range(2000)) for retries in (0, 1, 2, 10, 10**9)]
    assert longest == pytest.approx([0.5, 1.0, 2.0, 30.0, 30.0], rel=0.05)
    assert min(backoff_s(10) for _ in range(2000)) < 1.0


def test_asked_pause_is_never_cut_and_at_most_a_fifth_longer() -> None:
    assert all(2.0 <= obeying_s(2.0) <= 2.4 for _ in range(1000))


@pytest.mark.parametrize("form", ["seconds", "date", "ms"])
def test_retry_after_is_obeyed(endpoint: RunningEndpoint, form: str) -> None:
    rule = {"action": "status", "status": 429, "retry_after": form, "retry_after_s": 1}
    endpoint.reset(faults=[rule | {"match": {"first_n": 1}}])
    began = time.monotonic()
    reply = asked(endpoint.url, on=terms(retries=1, attempt_s=5))
    waited_s = time.monotonic() - began
    assert (reply.kind, reply.attempts) == (None, 2)
    # a date has whole seconds: asked for at 0.9, it comes out up to a second later
    assert 0.99 <= waited_s < (2.3 if form == "date" else 1.25)


@pytest.mark.parametrize("form", ["none", "garbage"])
def test_without_a_sensible_retry_after_the_backoff_decides(endpoint: RunningEndpoint, form: str) -> None:
    rule = {"action": "status", "status": 429, "retry_after": form, "match": {"first_n": 2}}
    endpoint.reset(faults=[rule])
    began = time.monotonic()
    assert asked(endpoint.url).attempts == 3
    assert time.monotonic() - began < 0.5


def test_pause_longer_than_what_is_left_ends_it_at_once(endpoint: RunningEndpoint) -> None:
    rule = {"action": "status", "status": 429, "retry_after": "seconds", "retry_after_s": 3600}
    endpoint.reset(faults=[rule])
    began = time.monotonic()
    reply = asked(endpoint.url, on=terms(total_s=30))
    assert time.monotonic() - began < 1
    assert (reply.status, reply.attempts) == (429, 1)
    assert "no time left" in reply.message
