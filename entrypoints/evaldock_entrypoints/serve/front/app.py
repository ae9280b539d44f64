"""The ASGI application: routes, errors, and what happens when the client goes away."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from types import MappingProxyType

from evaldock_entrypoints.serve.front.chat import handle_chat
from evaldock_entrypoints.serve.front.completions import handle_completions
from evaldock_entrypoints.serve.front.errors import ApiError, engine_dead, stopping, unknown_model
from evaldock_entrypoints.serve.front.generation import Service
from evaldock_entrypoints.serve.front.http import (
    Answer,
    EventStream,
    Receive,
    Scope,
    Send,
    Sender,
    error_answer,
    json_answer,
    read_body,
    send_answer,
    send_stream,
)
from evaldock_entrypoints.serve.front.protocol import EngineDeadError
from evaldock_entrypoints.serve.front.tokens import handle_detokenize, handle_tokenize, handle_tokenizer_info

Handler = Callable[[Service, bytes], Awaitable[Answer | EventStream]]

logger = logging.getLogger("evaldock.serve")


class App:
    """The shared OpenAI front over one engine."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.service.engine.start()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; uvicorn cancels it when the server stops, and then the client is told so."""
        began = time.monotonic()
        sender = Sender(send)
        path = scope["path"].rstrip("/") or "/"
        try:
            body = await read_body(receive)
            if body is None:
                return
            status = await _until_disconnect(receive, self._respond(scope["method"], path, body, sender))
        except ApiError as error:
            status = error.status
            await send_answer(sender, error_answer(error))
        except asyncio.CancelledError:
            status = 503
            if not sender.began:
                await send_answer(send, error_answer(stopping()))
        label = path if path in ROUTES else "other"
        self.service.metrics.count_answer(label, status, time.monotonic() - began)

    async def _respond(self, method: str, path: str, body: bytes, send: Send) -> int:
        try:
            answer = await self._handle(method, path, body)
            if isinstance(answer, EventStream):
                await send_stream(send, EventStream(events=_guarded(answer)))
                return 200
        except ApiError as error:
            answer = error_answer(error)
        except EngineDeadError as error:
            answer = error_answer(engine_dead(str(error)))
        except Exception:
            logger.exception("an error of our own on %s %s", method, path)
            answer = error_answer(
                ApiError(500, "Internal error; the server's log has it.", kind="server_error")
            )
        await send_answer(send, answer)
        return answer.status

    async def _handle(self, method: str, path: str, body: bytes) -> Answer | EventStream:
        if path.startswith("/v1/models/") and method == "GET":
            return _one_model(self.service, path.removeprefix("/v1/models/"))
        methods = ROUTES.get(path)
        if methods is None:
            raise ApiError(404, f"Not found: {path}", code="not_found")
        handler = methods.get(method)
        if handler is None:
            allowed = ", ".join(methods)
            raise ApiError(405, f"{path} takes {allowed}, not {method}.", headers=(("allow", allowed),))
        return await handler(self.service, body)


async def _guarded(stream: EventStream) -> AsyncGenerator[object, None]:
    try:
        async for value in stream.events:
            yield value
    except EngineDeadError as error:
        raise engine_dead(str(error)) from error
    finally:
        await stream.events.aclose()


async def _until_disconnect(receive: Receive, work: Coroutine[None, None, int]) -> int:
    """Run `work`; when the client closes the connection first, cancel it (status 499, as nginx logs it)."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return 499
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _models(service: Service, _body: bytes) -> Answer:
    return json_answer({"object": "list", "data": [_model_card(service)]})


def _one_model(service: Service, name: str) -> Answer:
    if name != service.engine.info.name:
        raise unknown_model(name)
    return json_answer(_model_card(service))


def _model_card(service: Service) -> dict[str, object]:
    info = service.engine.info
    return {
        "id": info.name,
        "object": "model",
        "created": info.created,
        "owned_by": "evaldock",
        "max_model_len": info.max_model_len,
    }


async def _alive(_service: Service, _body: bytes) -> Answer:
    return json_answer({"status": "alive"})


async def _ready(service: Service, _body: bytes) -> Answer:
    ready = service.engine.ready
    return json_answer({"status": "ready" if ready else "not ready"}, 200 if ready else 503)


async def _metrics(service: Service, _body: bytes) -> Answer:
    body = service.metrics.render(service.engine.load(), ready=service.engine.ready)
    return Answer(body=body, content_type="text/plain; version=0.0.4")


ROUTES: Mapping[str, Mapping[str, Handler]] = MappingProxyType(
    {
        "/v1/models": {"GET": _models},
        "/v1/completions": {"POST": handle_completions},
        "/v1/chat/completions": {"POST": handle_chat},
        "/tokenize": {"POST": handle_tokenize},
        "/detokenize": {"POST": handle_detokenize},
        "/tokenizer_info": {"GET": handle_tokenizer_info},
        "/health": {"GET": _alive},
        "/health/ready": {"GET": _ready},
        "/metrics": {"GET": _metrics},
    }
)
