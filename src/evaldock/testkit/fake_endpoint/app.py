"""The ASGI application: routes, keys, faults and statistics around the answers."""

import asyncio
import hashlib
import hmac
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

import orjson
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from evaldock.testkit.fake_endpoint import embeddings, generation, tokenizer
from evaldock.testkit.fake_endpoint.answer import Answer, JsonObject
from evaldock.testkit.fake_endpoint.errors import FakeEndpointError, RefusedError
from evaldock.testkit.fake_endpoint.faults import Asked, FaultPlan, Rule, parse_rules
from evaldock.testkit.fake_endpoint.generation import Model
from evaldock.testkit.fake_endpoint.injection import INTACT, Wire, changed_answer, changed_reply, deliver
from evaldock.testkit.fake_endpoint.protocol import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    TokenizeRequest,
    parse,
)
from evaldock.testkit.fake_endpoint.reply import Reply, answer_reply, json_reply
from evaldock.testkit.fake_endpoint.stats import Ledger

MAX_MODEL_LENGTH = 32768
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)

_ROUTES = {
    "/completions": "completions",
    "/chat/completions": "chat",
    "/embeddings": "embeddings",
    "/tokenize": "tokenize",
    "/detokenize": "detokenize",
    "/models": "models",
    "/tokenizer_info": "tokenizer_info",
    "/health": "health",
    "/_fake/stats": "_stats",
    "/_fake/requests": "_requests",
    "/_fake/reset": "_reset",
}
_POSTED = frozenset({"completions", "chat", "embeddings", "tokenize", "detokenize", "_reset"})
_TOKENIZER = frozenset({"tokenize", "detokenize", "tokenizer_info"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the endpoint behaves, apart from its answers."""

    seed: int = 42
    latency_ms: float = 0.0
    slots: int | None = None  # answers made at a time; further requests wait in order
    api_key: str | None = None
    rules: tuple[Rule, ...] = ()


class FakeEndpoint:
    """The endpoint as an ASGI application; `transport` of the connection comes in the scope's extensions."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self._model = model
        self._settings = settings
        self._plan = FaultPlan(settings.rules, seed=settings.seed)
        self._ledger = Ledger(model.table)
        self._slots: AbstractAsyncContextManager[None] = (
            asyncio.Semaphore(settings.slots) if settings.slots else nullcontext()
        )

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request."""
        assert scope["type"] == "http", "the server is started without lifespan and websockets"
        body = await _read_body(receive)
        if body is None:
            return
        wire = Wire(receive=receive, send=send, transport=_transport(scope))
        route = _route(scope["path"])
        if route is not None and route.startswith("_"):
            await deliver(wire, self._control(scope, route, body), None)
            return
        with self._ledger.request(route or "unknown"):
            await self._answer(wire, scope, route, body)

    async def _answer(self, wire: Wire, scope: HTTPScope, route: str | None, body: bytes) -> None:
        try:
            checked = self._admit(scope, route)
            body_hash = _body_hash(checked, body)
            ordinal = self._ledger.ordinal(checked, body, body_hash) if body else 1
            said = self._say(checked, body, f"{body_hash:016x}", ordinal)
        except RefusedError as error:
            await self._send(wire, json_reply(error.body(), status=error.status), None)
            return
        answer = said if isinstance(said, Answer) else None
        if answer is not None:
            self._ledger.asked(answer.outcomes)
        in_flight = self._ledger.in_flight
        asked = _asked(checked, body, body_hash, ordinal, answer, in_flight)
        rule = await self._delay_and_pick(asked)
        await self._send(wire, self._reply(said, rule), rule)
        if answer is not None and (rule is None or rule.action in INTACT):
            self._ledger.answered(answer.outcomes)

    def _admit(self, scope: HTTPScope, route: str | None) -> str:
        path, method = scope["path"], scope["method"]
        if route is None:
            raise RefusedError(status=404, message=f"Unknown route {method} {path}.", code="unknown_url")
        if _needs_key(route, path) and not self._authorized(scope):
            message = "Incorrect API key provided."
            raise RefusedError(
                status=401, message=message, kind="authentication_error", code="invalid_api_key"
            )
        expected = "POST" if route in _POSTED else "GET"
        if method != expected:
            raise RefusedError(status=405, message=f"{path} takes {expected}, not {method}.")
        return route

    def _authorized(self, scope: HTTPScope) -> bool:
        if self._settings.api_key is None:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, f"Bearer {self._settings.api_key}".encode())

    def _say(self, route: str, body: bytes, identity: str, ordinal: int) -> Answer | JsonObject:
        counts = self._ledger.asked_so_far
        match route:
            case "completions":
                completion = parse(CompletionRequest, body)
                return generation.complete(
                    self._model, completion, identity=identity, ordinal=ordinal, counts=counts
                )
            case "chat":
                chat = parse(ChatRequest, body)
                return generation.chat(self._model, chat, identity=identity, ordinal=ordinal, counts=counts)
            case "embeddings":
                return embeddings.embed(self._model.name, parse(EmbeddingRequest, body))
            case "tokenize":
                return _tokenize(parse(TokenizeRequest, body))
            case "detokenize":
                return _detokenize(parse(DetokenizeRequest, body))
            case "models":
                return _models(self._model.name)
            case "tokenizer_info":
                return _tokenizer_info()
            case _:
                return {}

    async def _delay_and_pick(self, asked: Asked) -> Rule | None:
        delays, rule = self._plan.pick(asked)
        for hit in (*delays, *([rule] if rule else [])):
            self._ledger.fault(hit.action)
        wait_ms = self._settings.latency_ms if asked.route in ("completions", "chat", "embeddings") else 0.0
        wait_ms += sum(delay.latency_ms for delay in delays)
        async with self._slots:
            if wait_ms:
                await asyncio.sleep(wait_ms / 1000)
        return rule

    def _reply(self, said: Answer | JsonObject, rule: Rule | None) -> Reply:
        if isinstance(said, Answer):
            reply = answer_reply(changed_answer(said, rule) if rule else said)
        elif rule is not None and rule.action == "forged_model" and "data" in said:
            reply = json_reply(_models(rule.model) if "model" not in said else said | {"model": rule.model})
        else:
            reply = json_reply(said)
        return changed_reply(reply, rule) if rule else reply

    async def _send(self, wire: Wire, reply: Reply, rule: Rule | None) -> None:
        if await deliver(wire, reply, rule):
            self._ledger.status(reply.status)

    def _control(self, scope: HTTPScope, route: str, body: bytes) -> Reply:
        if (scope["method"] == "POST") != (route in _POSTED):
            return json_reply({"error": {"message": f"wrong method {scope['method']}"}}, status=405)
        if route == "_stats":
            return json_reply(self._ledger.stats())
        if route == "_requests":
            return json_reply(self._ledger.last_requests())
        return self._restart(body)

    def _restart(self, body: bytes) -> Reply:
        """Forget all counts; with {"faults": [...]} in the body, also put new rules in force."""
        try:
            value = orjson.loads(body) if body else {}
            rules = parse_rules(value, "POST /_fake/reset") if "faults" in value else self._plan.rules
        except (orjson.JSONDecodeError, FakeEndpointError, TypeError) as error:
            return json_reply({"error": {"message": str(error)}}, status=400)
        self._plan = FaultPlan(rules, seed=self._settings.seed)
        self._ledger.reset()
        return json_reply({"rules": len(rules)})


def _route(path: str) -> str | None:
    path = path.rstrip("/")
    return _ROUTES.get(path) or _ROUTES.get(path.removeprefix("/v1"))


def _needs_key(route: str, path: str) -> bool:
    # As in vLLM: outside /v1 the tokenizer is open, and lm-eval's remote tokenizer sends no key there.
    return route != "health" and (route not in _TOKENIZER or path.startswith("/v1/"))


def _transport(scope: HTTPScope) -> asyncio.Transport:
    found: object = (scope.get("extensions") or {}).get("evaldock.transport", {}).get("transport")
    assert isinstance(found, asyncio.Transport), "the endpoint runs on its own server only (server.py)"
    return found


async def _read_body(receive: ASGIReceiveCallable) -> bytes | None:
    """The request's body; None if the client hung up before its end."""
    parts: list[bytes] = []
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return None
        parts.append(event["body"])
        if not event["more_body"]:
            return b"".join(parts)


def _body_hash(route: str, body: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(body, digest_size=8, person=route[:16].encode()).digest(), "big")


def _asked(
    route: str, body: bytes, body_hash: int, ordinal: int, answer: Answer | None, in_flight: int
) -> Asked:
    outcomes = answer.outcomes if answer else ()
    items = frozenset(outcome.item.id for outcome in outcomes if outcome.item)
    stream = answer is not None and answer.stream
    return Asked(
        route=route,
        body=body,
        body_hash=body_hash,
        ordinal=ordinal,
        items=items,
        stream=stream,
        in_flight=in_flight,
    )


def _models(name: str) -> JsonObject:
    card = {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "evaldock"}
    return {"object": "list", "data": [card | {"max_model_len": MAX_MODEL_LENGTH}]}


def _tokenizer_info() -> JsonObject:
    return {
        "tokenizer_class": "EvaldockFakeTokenizer",
        "bos_token": None,
        "eos_token": tokenizer.END_OF_TEXT,
        "pad_token": tokenizer.PADDING,
        "vocab_size": tokenizer.VOCAB_SIZE,
        "model_max_length": MAX_MODEL_LENGTH,
        "chat_template": CHAT_TEMPLATE,
    }


def _tokenize(request: TokenizeRequest) -> JsonObject:
    chat = "".join(f"{message.role}: {message.text}\n" for message in request.messages)
    tokens = tokenizer.encode(chat if request.prompt is None else request.prompt)
    names = list(map(tokenizer.token_text, tokens)) if request.return_token_strs else None
    return {"tokens": tokens, "count": len(tokens), "max_model_len": MAX_MODEL_LENGTH, "token_strs": names}


def _detokenize(request: DetokenizeRequest) -> JsonObject:
    try:
        return {"prompt": tokenizer.decode(request.tokens)}
    except ValueError as error:
        raise RefusedError(status=400, message=f"tokens: {error}", param="tokens") from error
