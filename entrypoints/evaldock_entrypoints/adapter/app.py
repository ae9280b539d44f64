"""The adapter as a raw ASGI application."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from evaldock_entrypoints.adapter.asides import look_up, pass_on
from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.client import MAX_BODY_BYTES, Client, Scope, TooLargeError
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
                    self.routes.fronts[task][None].records.refuse(scope["path"], str(error))
                await client.send_error(404, str(error), "unknown_path")
            except TooLargeError:
                self.routes.find(scope["path"], task).front.records.refuse(scope["path"], _TOO_LARGE)
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
        front, is_beside = destination.front, destination.is_beside
        asking = Asking(method=scope["method"], path=path, body=body, headers=headers, is_beside=is_beside)
        if is_probe:
            await pass_on(front, asking, _PROBE_TERMS, client)
        elif is_beside and destination.path in _LASTING:
            await look_up(front, asking, client)
        elif asking.method != "POST":
            await pass_on(front, asking, front.terms, client)
        else:
            await front.respond(_call(destination, asking), client)


def _call(destination: Destination, asking: Asking) -> Call:
    body = Body(asking.body)
    tree = body.tree
    return Call(
        task=destination.front.lane.task,
        role=destination.front.records.role,
        kind=destination.kind,
        route=asking.path,
        body=body,
        headers=dict(asking.headers),
        wants_stream=tree is not None and tree.get("stream") is True,
        is_beside=destination.is_beside,
    )
