"""What the front needs of an engine: the seam between HTTP and the model."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]


class EngineDeadError(RuntimeError):
    """The engine died; every request that it held fails with this."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Facts about the served model; the special tokens are texts, None where the model has none."""

    name: str
    max_model_len: int
    created: int
    chat_template: str | None
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    tokenizer_class: str


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen: greedy at temperature 0, `top_k` 0 means the whole vocabulary."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One sequence to compute; `prompt_top` and `top` are counts of alternatives, None means unscored."""

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    prompt_top: int | None = None
    top: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token, its log-probability given all tokens before it, and the likeliest alternatives, best first."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class PromptScored:
    """The scores of the whole prompt, one per token; the first has no log-probability."""

    tokens: tuple[ScoredToken, ...]


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated token; an end-of-text token is reported too and ends the text."""

    scored: ScoredToken


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a request."""

    reason: FinishReason


Event = PromptScored | Generated | Finished


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How many sequences are being computed and how many wait."""

    running: int
    waiting: int


class Tokenizer(Protocol):
    """Text to token ids and back, losslessly on bytes."""

    @property
    def vocabulary_size(self) -> int:
        """How many token ids there are; valid ids are below it."""

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        """Token ids of `text`; special tokens written out in the text are recognised."""

    def piece(self, token: int) -> bytes:
        """Bytes of a token, special tokens written out."""

    def is_special(self, token: int) -> bool:
        """Whether the token is a control token, which generated text leaves out."""


class Engine(Protocol):
    """A model that completes token sequences, many at a time."""

    @property
    def info(self) -> ModelInfo:
        """Facts about the model."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""

    @property
    def ready(self) -> bool:
        """Whether a forward pass has succeeded and the engine lives."""

    def start(self) -> None:
        """Begin to serve; called once, on the event loop that `submit` is used on."""

    def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Events of one sequence; closing the generator cancels it. Raises EngineDeadError."""

    def load(self) -> EngineLoad:
        """How busy the engine is."""

    async def died(self) -> str:
        """Return only when the engine died, with the reason."""
