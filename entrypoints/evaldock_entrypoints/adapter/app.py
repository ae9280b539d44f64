"""The adapter as a raw ASGI application."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.client import MAX_BODY_BYTES, Client, Scope, TooLargeError
from evaldock_entrypoints.adapter.front import Front
from evaldock_entrypoints.adapter.routes import Destination, Routes, UnknownPathError
from evaldock_entrypoints.adapter.upstream import Terms
from evaldock_entrypoints.adapter.upstream.reply import Asking
from evaldock_entrypoints.contract.adapter import PROBE_HEADER

_PROBE_TERMS = Terms(attempt_timeout_s=60.0, max_retries=0, total_timeout_s=60.0)
_TOO_LARGE = f"the body is longer than {MAX_BODY_BYTES >> 20} MiB"
# What a tokenizer answers is the same each time, however often: vLLM's routes beside /v1.
_LASTING = frozenset({"/tokenize", "/detokenize", "/tokenizer_info"})
AsgiApp = Callable[[Scope, Any, Any], Awaitable[None]]


@dataclass(kw_only=True)
class App:
    """Answers requests of all harnesses. is_crowded: connections are closed after one answer."""

    routes: Routes
    is_crowded: Callable[[], bool] = field(default=lambda: False)

    def bound_to(self, task: str | None) -> AsgiApp:
        """Return the application as one task's listener serves it."""

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            client = Client(scope, receive, send, is_crowded=self.is_crowded())
            try:
                await self._answer(scope, client, task)
            except UnknownPathError as error:
                if task is not None and scope["method"] == "POST":
                    self.routes.fronts[task][None].note_refused(scope["path"], str(error))
                await client.send_error(404, str(error), "unknown_path")
            except TooLargeError:
                self.routes.find(scope["path"], task).front.note_refused(scope["path"], _TOO_LARGE)
                await client.send_error(413, _TOO_LARGE, "too_large")
            except ConnectionResetError:
                return  # the harness hung up in the middle of its own request

        return app

    async def _answer(self, scope: Scope, client: Client, task: str | None) -> None:
        if scope["path"] == "/health":
            await client.send(200, {"content-type": "application/json"}, b'{"status":"ok"}')
            return
        destination = self.routes.find(scope["path"], task)
        headers = client.headers()
        body = await client.body()
        query = scope["query_string"].decode("latin-1")
        path = f"{destination.path}?{query}" if query else destination.path
        is_probe = headers.pop(PROBE_HEADER, None) is not None
        if scope["method"] != "POST" or destination.is_beside or is_probe:
            asking = Asking(
                method=scope["method"], path=path, body=body, headers=headers, is_beside=destination.is_beside
            )
            if destination.path in _LASTING and not is_probe:
                await destination.front.look_up(asking, client)
                return
            terms = _PROBE_TERMS if is_probe else destination.front.terms
            await _pass_on(destination.front, asking, terms, client)
            return
        await destination.front.respond(_call(destination, path, headers, body), client)


def _call(destination: Destination, path: str, headers: dict[str, str], body: bytes) -> Call:
    whole = Body(body)
    tree = whole.tree
    return Call(
        task=destination.front.lane.task,
        role=destination.front.role,
        kind=destination.kind,
        route=path,
        body=whole,
        headers=headers,
        wants_stream=tree is not None and tree.get("stream") is True,
    )


async def _pass_on(front: Front, asking: Asking, terms: Terms, client: Client) -> None:
    """Ask the endpoint something that is no request of the task: what models it has, its tokenizer."""
    if front.replays:
        await client.send_error(502, "only stored answers are given", "not_in_store")
        return
    reply = await front.upstream.ask(asking, terms)
    await client.send(reply.status, reply.headers, reply.body)
