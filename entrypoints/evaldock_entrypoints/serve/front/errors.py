"""Errors of the HTTP interface, in OpenAI's shape."""

import orjson


class ApiError(Exception):
    """An answer other than 200, with what OpenAI's clients read: message, type, param, code."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = headers

    def body(self) -> bytes:
        """Return the JSON body."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


def bad_request(message: str, param: str | None = None) -> ApiError:
    """Return a 400 about one parameter."""
    return ApiError(400, message, param=param)


def unknown_model(name: str) -> ApiError:
    """Return the 404 for a model that is not served here."""
    return ApiError(404, f"The model `{name}` does not exist.", param="model", code="model_not_found")


def too_long(prompt_tokens: int, max_tokens: int, limit: int) -> ApiError:
    """Return the 400 for a request that does not fit the context; nothing is ever truncated."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, you requested "
        f"{prompt_tokens + max_tokens} tokens ({prompt_tokens} in the prompt, {max_tokens} for the "
        "completion). Please reduce the length of the prompt or of the completion."
    )
    return ApiError(400, message, param="max_tokens", code="context_length_exceeded")


def overloaded(waiting: int, bound: int) -> ApiError:
    """Return the 429 for a full queue."""
    message = f"The queue is full: {waiting} sequences wait and the bound is {bound}. Please retry later."
    return ApiError(
        429,
        message,
        kind="rate_limit_error",
        code="queue_full",
        headers=(("retry-after", str(1 + waiting // 64)),),
    )


def stopping() -> ApiError:
    """Return the 503 for a request that the end of the server interrupts."""
    return ApiError(503, "The server is stopping.", kind="server_error", code="stopping")


def engine_dead(reason: str) -> ApiError:
    """Return the 500 for an engine that died."""
    return ApiError(500, f"The engine died: {reason}", kind="server_error", code="engine_dead")
