"""What no decent server sends: taken as what it means, or refused."""

import asyncio
import gzip
import json
import math
import socket
import threading
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.kit.raw_server import Serving, always, dribble_body, dribble_header, flood, no_http, read_request
from tests.kit.upstreams import KEY, asked, asking, terms, upstream_at

from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.upstream import Upstream
from evaldock_entrypoints.contract.interceptors import EndpointPolicy

GOOD: dict[str, Any] = {"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}
RAW = orjson.dumps(GOOD)
ONCE = terms(retries=0)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Over connections of our own, and over the library's."""
    return str(request.param)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (GOOD, None),
        ({"choices": []}, "invalid"),
        ({"choices": None}, "invalid"),
        ({"choices": ["x"]}, "invalid"),
        ({"choices": [{}]}, "invalid"),
        ({"choices": [{"message": None}]}, "invalid"),
        ({"choices": [{"message": {"content": None}}]}, None),
        ({"id": "x"}, "invalid"),
        ([GOOD], "invalid"),
        ("text", "invalid"),
        ({"error": {"message": "no"}}, "invalid"),
        ({"object": "error", "message": "no"}, "invalid"),
        ({**GOOD, "error": {"message": "no"}}, "invalid"),
        ({"choices": [{"error": {"message": "no"}, "text": ""}]}, "invalid"),
        ({**GOOD, "error": None}, None),
        (b"\xff\xfe", "invalid"),
        (b"[" * 100_000, "invalid"),
        (json.dumps(GOOD).encode() + b"trailing", "invalid"),
    ],
)
def test_only_an_answer_is_taken_for_one(serving: Serving, body: Any, kind: str | None) -> None:
    with serving(always(200, body)) as url:
        assert asked(url, on=ONCE).kind == kind


def test_numbers_and_letters_that_json_does_not_have_are_taken_as_servers_send_them(serving: Serving) -> None:
    body = b'{"choices": [{"text": "\\ud800", "logprobs": {"token_logprobs": [NaN, -Infinity]}}]}'
    with serving(always(200, body)) as url:
        reply = asked(url, on=ONCE)
    assert (reply.kind, reply.body) == (None, body)
    assert reply.tree is not None
    values = reply.tree["choices"][0]["logprobs"]["token_logprobs"]
    assert math.isnan(values[0])
    assert values[1] == -math.inf


@pytest.mark.parametrize(
    ("behave", "kind"), [(dribble_header, "timeout"), (dribble_body, "timeout"), (no_http, "invalid")]
)
def test_bad_server_is_told_as_what_it_does(serving: Serving, behave: Any, kind: str) -> None:
    with serving(behave) as url:
        assert asked(url, on=terms(attempt_s=0.4, retries=0)).kind == kind


def test_flood_is_cut_off(serving: Serving) -> None:
    async def ask() -> tuple[str | None, int]:
        policy = EndpointPolicy()
        async with Upstream(
            [f"{url}/v1"], policy=policy, api_key=None, redact=Redaction([]), max_body_bytes=1 << 20
        ) as upstream:
            reply = await upstream.ask(asking(), ONCE)
            return reply.kind, reply.attempts

    with serving(flood) as url:
        assert asyncio.run(ask()) == ("invalid", 1)


PACKED = [gzip.compress(RAW, mtime=0), gzip.compress(RAW[:9], mtime=0) + gzip.compress(RAW[9:], mtime=0)]


@pytest.mark.parametrize("packed", PACKED, ids=["one", "two"])
@pytest.mark.parametrize("stream", [False, True])
def test_compressed_answer_comes_out_plain_or_is_told(
    serving: Serving, scheme: str, packed: bytes, *, stream: bool
) -> None:
    kind = "Content-Type: text/event-stream" if stream else "Content-Type: application/json"
    with serving(always(200, packed, "Content-Encoding: gzip", kind)) as url:
        reply = asked(url, what=replace(asking(), expects="anything"))
    if scheme == "https":
        assert (reply.kind, reply.body) == (None, RAW)
        assert "content-encoding" not in reply.headers
    else:
        assert (reply.kind, reply.attempts) == ("invalid", 1)
        assert "compressed (gzip)" in reply.message


@pytest.mark.parametrize(
    ("body", "encoding", "kinds"),
    [
        (gzip.compress(RAW, mtime=0)[:30], "gzip", {"http": "invalid", "https": "invalid"}),
        (b"xxx", "gzip", {"http": "invalid", "https": "cut"}),
        (b"xxx", "strange", {"http": "invalid", "https": "invalid"}),
    ],
)
def test_badly_compressed_answer_is_none(
    serving: Serving, scheme: str, body: bytes, encoding: str, kinds: dict[str, str]
) -> None:
    with serving(always(200, body, f"Content-Encoding: {encoding}")) as url:
        assert asked(url, on=ONCE).kind == kinds[scheme]


def test_status_counts_though_its_words_are_compressed(serving: Serving) -> None:
    with serving(always(403, gzip.compress(b"{}", mtime=0), "Content-Encoding: gzip")) as url:
        assert asked(url, on=ONCE).status == 403


def test_compressed_bomb_is_cut_off(serving: Serving) -> None:
    bomb = zlib.compress(b" " * (80 << 20))
    with serving(always(200, bomb, "Content-Encoding: deflate")) as url:
        assert asked(url, on=terms(retries=0, attempt_s=10)).kind == "invalid"


def test_long_answer_holds_memory_for_body_and_tree_and_no_more(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "huge"}])

    async def ask() -> float:
        async with upstream_at(endpoint.url) as upstream:
            tracemalloc.start()
            reply = await upstream.ask(asking(), terms(attempt_s=10))
            held = tracemalloc.get_traced_memory()[
                0
            ]  # the peak would count what orjson reserves and never uses
            tracemalloc.stop()
            return held / len(reply.body)

    assert asyncio.run(ask()) < 2.1


@pytest.mark.parametrize(
    ("status", "header", "attempts"), [(500, "x-should-retry: false", 1), (400, "x-should-retry: true", 3)]
)
def test_endpoint_may_say_whether_to_ask_again(
    serving: Serving, status: int, header: str, attempts: int
) -> None:
    with serving(always(status, {"error": {"message": "x"}}, header)) as url:
        assert asked(url).attempts == attempts


def test_redirect_is_not_followed_and_says_where_it_goes(serving: Serving) -> None:
    with serving(always(307, b"", "Location: http://other/v1?api_key=abcdefgh")) as url:
        reply = asked(url)
    assert (reply.status, reply.kind, reply.attempts) == (502, "status", 1)
    assert "http://other/v1?api_key=[redacted]" in reply.message


def test_headers_of_the_hop_do_not_pass(serving: Serving) -> None:
    body = orjson.dumps(GOOD)
    lines = ("Keep-Alive: timeout=5", "X-Request-Id: 7", "Set-Cookie: a=b")
    with serving(always(200, body, *lines)) as url:
        reply = asked(url, on=ONCE, what=asking(headers={"te": "trailers", "host": "evil", "x-mine": "1"}))
    assert reply.headers == {"content-type": "application/json", "x-request-id": "7"}


def test_request_brings_the_harness_own_headers_and_neither_its_hop_nor_its_key(serving: Serving) -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        seen.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(RAW), RAW))

    theirs = {"te": "trailers", "host": "evil", "authorization": "Bearer evil", "x-mine": "1"}
    with serving(serve) as url:
        assert asked(url, key=KEY, on=ONCE, what=asking(headers=theirs)).kind is None
    lines = seen[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    assert headers.pop("host") == url.partition("//")[2]
    assert headers.pop("content-length") == str(len(asking().body))
    assert headers == {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "authorization": f"bearer {KEY}",
        "x-mine": "1",
    }


def test_foreign_error_body_is_kept_and_a_page_is_not(serving: Serving) -> None:
    with serving(always(422, {"detail": [{"msg": "field required"}]})) as url:
        assert orjson.loads(asked(url).body) == {"detail": [{"msg": "field required"}]}
    with serving(always(404, b"<html>no</html>", "Content-Type: text/html")) as url:
        reply = asked(url)
    assert orjson.loads(reply.body)["error"]["message"] == "status 404: <html>no</html>"
    assert reply.headers["content-type"] == "application/json"


def test_key_in_an_answer_is_replaced_in_every_form_of_the_reply(serving: Serving) -> None:
    said = {"choices": [{"index": 0, "text": f"your key is {KEY}", "finish_reason": "stop"}]}
    stream = b"data: " + orjson.dumps(said) + b"\n\ndata: [DONE]\n\n"
    for body in (said, stream):
        with serving(always(200, body)) as url:
            reply = asked(url, key=KEY, on=ONCE)
        assert reply.kind is None
        assert KEY not in repr(reply)
        assert "your key is [redacted]" in repr(reply.tree)


def test_long_request_goes_out_whole(endpoint: RunningEndpoint) -> None:
    reply = asked(endpoint.url, what=asking("x" * 3_000_000), on=terms(attempt_s=10))
    assert reply.tree is not None
    assert reply.tree["usage"]["prompt_tokens"] > 500_000
