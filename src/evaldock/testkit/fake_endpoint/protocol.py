"""Requests as clients send them, checked at the boundary; fields the endpoint has no use for are ignored."""

from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from evaldock.testkit.fake_endpoint.errors import RefusedError

Model = TypeVar("Model", bound=BaseModel)


def _list_of_stops(value: object) -> object:
    # lm-eval sends [null] where a task has no stop string.
    stops = value if isinstance(value, list) else [value]
    return [stop for stop in stops if stop]


class StreamOptions(BaseModel):
    """`stream_options` of a streaming request."""

    include_usage: bool = False


class _Sampling(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)

    model: StrictStr
    n: int = Field(default=1, ge=1, le=128)
    temperature: float | None = Field(default=None, ge=0)
    seed: int | None = None
    stop: Annotated[list[StrictStr], BeforeValidator(_list_of_stops)] = []
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def include_usage(self) -> bool:
        """True if a streaming client asked for a last chunk with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionRequest(_Sampling):
    """POST /v1/completions."""

    prompt: StrictStr | list[StrictStr] | list[StrictInt] | list[list[StrictInt]]
    max_tokens: int | None = Field(default=16, ge=0)
    echo: bool = False
    logprobs: StrictInt | None = Field(default=None, ge=0, le=20)

    def prompts(self) -> list[str | list[int]]:
        """The batch: one entry per prompt, text or token ids."""
        prompt = self.prompt
        if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
            return [prompt]
        return list(prompt)  # type: ignore[arg-type]  # what is left: texts, or lists of ids


class ContentPart(BaseModel):
    """One part of a message; only text is read."""

    type: StrictStr
    text: StrictStr = ""


class Message(BaseModel):
    """One chat message."""

    role: StrictStr
    content: StrictStr | list[ContentPart] | None = None

    @property
    def text(self) -> str:
        """The message's text parts, joined."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class ChatRequest(_Sampling):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: list[dict[str, object]] = []
    tool_choice: object = None

    @property
    def limit(self) -> int | None:
        """The most tokens to generate; the newer field wins."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def may_call_tools(self) -> bool:
        """True if the answer may be a tool call."""
        return bool(self.tools) and self.tool_choice != "none"


class EmbeddingRequest(BaseModel):
    """POST /v1/embeddings."""

    model: StrictStr
    input: StrictStr | list[StrictStr] | list[StrictInt] | list[list[StrictInt]]
    dimensions: int = Field(default=16, ge=1, le=4096)
    encoding_format: Literal["float", "base64"] = "float"


class TokenizeRequest(BaseModel):
    """POST /tokenize, of text or of a chat (vLLM's shape)."""

    prompt: StrictStr | None = None
    messages: list[Message] = []
    return_token_strs: bool = False


class DetokenizeRequest(BaseModel):
    """POST /detokenize (vLLM's shape)."""

    tokens: list[StrictInt]


def parse(kind: type[Model], body: bytes) -> Model:
    """`body` as a request of this kind. Raises RefusedError (400) naming the field."""
    try:
        return kind.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise RefusedError(status=400, message=f"the body is no JSON: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or None
        raise RefusedError(status=400, message=f"{field}: {first['msg']}", param=field) from error
