"""A scripted engine behind the real front, and a toy decoder under the real scheduler."""

import asyncio
from collections.abc import AsyncGenerator, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pytest

from evaldock_entrypoints.serve.batching.decoder import Logits, Row, RowsWanted
from evaldock_entrypoints.serve.front.app import App
from evaldock_entrypoints.serve.front.generation import Service
from evaldock_entrypoints.serve.front.metrics import Metrics
from evaldock_entrypoints.serve.front.protocol import (
    EngineDeadError,
    EngineLoad,
    Event,
    Finished,
    Generated,
    GenerationRequest,
    ModelInfo,
    PromptScored,
    ScoredToken,
)

END = 256
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}bot:{% endif %}"
)


class ByteTokenizer:
    """One token per byte, and one that ends the text."""

    vocabulary_size = 257

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        del add_special  # there is none to add
        return list(text.encode())

    def piece(self, token: int) -> bytes:
        return b"<end>" if token == END else bytes([token])

    def is_special(self, token: int) -> bool:
        return token == END


@dataclass
class ScriptedEngine:
    """Answers every request with `reply`, then the end token; the log-probability of byte b is -b/100."""

    reply: bytes = b"hello"
    waiting: int = 0
    ready: bool = True
    dies_after: int | None = None
    template: str | None = TEMPLATE
    requests: list[GenerationRequest] = field(default_factory=list)
    cancelled: int = 0
    started: int = 0
    hangs: bool = False
    tokenizer: ByteTokenizer = field(default_factory=ByteTokenizer)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            name="m",
            max_model_len=64,
            created=1,
            chat_template=self.template,
            bos_token=None,
            eos_token="<end>",
            pad_token=None,
            tokenizer_class="Bytes",
        )

    def start(self) -> None:
        self.started += 1

    def load(self) -> EngineLoad:
        return EngineLoad(0, self.waiting)

    async def died(self) -> str:
        return "never"

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        finished = False
        try:
            if self.hangs:
                await asyncio.sleep(60)
            if request.prompt_top is not None:
                first, *rest = request.prompt
                yield PromptScored(
                    (ScoredToken(first), *(_scored(token, request.prompt_top) for token in rest))
                )
            for count, token in enumerate([*self.reply, END][: request.max_tokens]):
                await asyncio.sleep(0)
                if count == self.dies_after:
                    raise EngineDeadError("it broke")
                yield Generated(_scored(token, request.top or 0))
            finished = True
            yield Finished("stop" if request.max_tokens > len(self.reply) else "length")
        finally:
            self.cancelled += not finished


def _scored(token: int, top: int) -> ScoredToken:
    return ScoredToken(token, -token / 100, ((ord("~"), -0.01), (ord("!"), -0.02))[:top])


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def events(self) -> list[str]:
        return [block.removeprefix("data: ") for block in self.body.decode().split("\n\n") if block]


Ask = Callable[..., Reply]


async def _ask(app: App, method: str, path: str, body: bytes, leave_after_s: float | None) -> Reply:
    sent: list[MutableMapping[str, Any]] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if parts:
            return dict(parts.pop())
        await asyncio.sleep(60 if leave_after_s is None else leave_after_s)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path}, receive, send)
    if not sent:
        return Reply(0, {}, b"")
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent[1:]))


@pytest.fixture
def engine() -> ScriptedEngine:
    """The engine that `ask` talks to."""
    return ScriptedEngine()


@pytest.fixture
def ask(engine: ScriptedEngine) -> Ask:
    """Send one request to the front: ask("POST", path, body) -> Reply."""
    app = App(Service(engine=engine, metrics=Metrics(), queue_bound=8))

    def send(method: str, path: str, body: object = None, *, leave_after_s: float | None = None) -> Reply:
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return asyncio.run(_ask(app, method, path, data, leave_after_s))

    return send


@dataclass
class ToyDecoder:
    """A model whose next token depends on all tokens before it; keeps what it was asked to compute."""

    slots: int = 2
    chunk: int = 4
    vocabulary: int = 32
    breaks_after: int | None = None
    fed: list[tuple[int, int, int]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.held: list[list[int]] = [[] for _ in range(self.slots)]

    def logits(self, tokens: Sequence[int]) -> Logits:
        seed = [len(tokens), *tokens]
        return np.random.default_rng(seed).normal(size=self.vocabulary).astype(np.float32)

    def prefill(self, slot: int, start: int, tokens: Sequence[int], wanted: RowsWanted) -> Logits:
        if self.breaks_after is not None and len(self.fed) >= self.breaks_after:
            raise RuntimeError("toy broke")
        assert start == len(self.held[slot]), "a gap in the slot"
        self.fed.append((slot, start, len(tokens)))
        rows = []
        for token in tokens:
            self.held[slot].append(token)
            rows.append(self.logits(self.held[slot]))
        return np.stack(rows) if wanted == "all" else np.stack(rows[-1:])

    def step(self, rows: Sequence[Row]) -> Logits:
        self.steps.append(len(rows))
        for row in rows:
            assert row.position == len(self.held[row.slot]), "a gap in the slot"
            self.held[row.slot].append(row.token)
        return np.stack([self.logits(self.held[row.slot]) for row in rows])

    def truncate(self, slot: int, length: int) -> int:
        del self.held[slot][length:]
        return length

    def ends_text(self, token: int) -> bool:
        return token == 31


@pytest.fixture
def toy() -> Callable[..., ToyDecoder]:
    """Build a toy decoder."""
    return ToyDecoder
