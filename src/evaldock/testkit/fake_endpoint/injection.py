"""Faults applied: to the answer, to the response, and on the socket."""

import asyncio
import math
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from time import time

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable

from evaldock.testkit.fake_endpoint.answer import Answer
from evaldock.testkit.fake_endpoint.errors import RefusedError
from evaldock.testkit.fake_endpoint.faults import Rule
from evaldock.testkit.fake_endpoint.reply import DONE, Reply, json_reply

# Answers hit by these still say what the table says.
INTACT = frozenset({"no_usage", "forged_model", "reordered"})

# What terminals, HTML pages and spreadsheets must survive: colours, title and clipboard escapes, NUL, a line
# rewritten with CR, right-to-left override, a script's end tag, a formula, a line separator.
HOSTILE_TEXT = (
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]52;c;ZXZpbA==\x07 \x00\x08\x7f \rforged line\n"
    "\u202egnp.exe\u202c </script><script>alert(1)</script> <img src=x onerror=alert(1)>\n"
    '=HYPERLINK("http://localhost/","x")\n+1+1\n@SUM(A1)\n-2-2\n\u2028```'
)
_HTML = b"<!DOCTYPE html><html><title>Bad Gateway</title><body><h1>Bad Gateway</h1></body></html>\n"


@dataclass(frozen=True, kw_only=True)
class Wire:
    """The client's connection: ASGI's two channels and the transport below them."""

    receive: ASGIReceiveCallable
    send: ASGISendCallable
    transport: asyncio.Transport

    async def start(self, reply: Reply) -> None:
        """Send status line and headers."""
        headers = [("content-type", reply.content_type), *reply.headers]
        if not reply.stream:
            headers.append(("content-length", str(len(reply.body))))
        raw = [(name.encode(), value.encode()) for name, value in headers]
        await self.send({"type": "http.response.start", "status": reply.status, "headers": raw})

    async def part(self, body: bytes, *, more: bool = True) -> None:
        """Send a part of the body."""
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def gone(self) -> None:
        """Wait until the client has hung up."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


def changed_answer(answer: Answer, rule: Rule) -> Answer:
    """`answer` as the rule distorts what it says."""
    match rule.action:
        case "null_content":
            return replace(
                answer, choices=tuple(replace(c, text=None, logprobs=None) for c in answer.choices)
            )
        case "huge":
            return _with_text(
                answer, lambda text: (text + " ") * math.ceil(rule.size_bytes / (len(text) + 1))
            )
        case "control_chars":
            return _with_text(answer, lambda text: HOSTILE_TEXT + text)
        case "no_usage":
            return replace(answer, usage=None)
        case "forged_model":
            return replace(answer, model=rule.model)
        case "reordered":
            return replace(answer, choices=answer.choices[::-1])
        case "duplicate":
            return replace(answer, choices=tuple(c for choice in answer.choices for c in (choice, choice)))
        case _:
            return answer


def changed_reply(reply: Reply, rule: Rule) -> Reply:
    """`reply` as the rule distorts its status, headers or bytes."""
    match rule.action:
        case "status":
            return _error(rule)
        case "invalid_json":
            return replace(reply, chunks=(reply.body[: len(reply.body) * 2 // 3],), stream=False)
        case "empty_body":
            return replace(reply, chunks=(b"",), stream=False)
        case "html":
            status = rule.status or 502
            return Reply(status=status, chunks=(_HTML,), content_type="text/html; charset=utf-8")
        case "wrong_content_type":
            return replace(reply, content_type="text/plain; charset=utf-8")
        case "sse_cut":
            events = [chunk for chunk in reply.chunks if chunk != DONE]
            return replace(reply, chunks=tuple(events[: max(1, len(events) // 2)]))
        case "sse_error":
            half = reply.chunks[: max(1, len(reply.chunks) // 2)]
            return replace(reply, chunks=(*half, b"data: " + _error(rule).body + b"\n\n", DONE))
        case "error_answer":
            return replace(_error(rule), status=200)
        case _:
            return reply


async def deliver(wire: Wire, reply: Reply, rule: Rule | None) -> bool:
    """Put `reply` on the wire as the rule says; True if a status line was sent."""
    handler = _ON_WIRE.get(rule.action) if rule else None
    if rule is None or handler is None:
        await _whole(wire, reply)
        return True
    return await handler(wire, reply, rule)


async def _whole(wire: Wire, reply: Reply) -> None:
    await wire.start(reply)
    for chunk in reply.chunks[:-1]:
        await wire.part(chunk)
    await wire.part(reply.chunks[-1], more=False)


async def _hang(wire: Wire, reply: Reply, rule: Rule) -> bool:  # noqa: ARG001 - one signature for the table
    await wire.gone()
    return False


async def _reset(wire: Wire, reply: Reply, rule: Rule) -> bool:
    if rule.at == "half":
        await _half(wire, reply)
        # A reset makes the client's kernel drop what it has not read yet; let it read the half first.
        await asyncio.sleep(0.05)
    raw = wire.transport.get_extra_info("socket")
    # Lingering for no time makes close() send RST instead of FIN (man 7 socket). Unix sockets have no RST.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.transport.abort()
    await wire.gone()
    return rule.at == "half"


async def _truncate(wire: Wire, reply: Reply, rule: Rule) -> bool:  # noqa: ARG001 - one signature for the table
    await _half(wire, reply)
    wire.transport.close()
    await wire.gone()
    return True


async def _slow_bytes(wire: Wire, reply: Reply, rule: Rule) -> bool:
    await wire.start(reply)
    gone = asyncio.ensure_future(wire.gone())
    for byte in reply.body:
        await wire.part(bytes([byte]))
        done, _ = await asyncio.wait([gone], timeout=rule.interval_ms / 1000)
        if done:
            return True
    gone.cancel()
    await wire.part(b"", more=False)
    return True


async def _half(wire: Wire, reply: Reply) -> None:
    await wire.start(reply)
    await wire.part(reply.body[: len(reply.body) // 2])


_ON_WIRE: dict[str, Callable[[Wire, Reply, Rule], Awaitable[bool]]] = {
    "hang": _hang,
    "reset": _reset,
    "slow_bytes": _slow_bytes,
    "truncate": _truncate,
}


def _with_text(answer: Answer, change: Callable[[str], str]) -> Answer:
    choices = (replace(choice, text=change(choice.text or ""), logprobs=None) for choice in answer.choices)
    return replace(answer, choices=tuple(choices))


def _error(rule: Rule) -> Reply:
    status = rule.status or 500
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error" if status < 500 else "server_error"
    )
    error = RefusedError(
        status=status, message=f"Injected fault: status {status}.", kind=kind, code=str(status)
    )
    return json_reply(error.body(), status=status, headers=_retry_after(rule))


def _retry_after(rule: Rule) -> tuple[tuple[str, str], ...]:
    match rule.retry_after:
        case "none":
            return ()
        case "seconds":
            return (("retry-after", str(math.ceil(rule.retry_after_s))),)
        case "date":
            # The date has whole seconds: rounding up keeps the wait at least as long as asked.
            return (("retry-after", formatdate(math.ceil(time() + rule.retry_after_s), usegmt=True)),)
        case "ms":
            return (("retry-after-ms", str(round(rule.retry_after_s * 1000))),)
        case "garbage":
            return (("retry-after", "soon-ish; -1"),)
