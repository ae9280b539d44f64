"""Errors of the fake endpoint: bad configuration, and requests it refuses."""

from dataclasses import dataclass


class FakeEndpointError(Exception):
    """The endpoint cannot start: a bad answer table, fault rule, option or port."""

    exit_code = 2


@dataclass(kw_only=True, eq=False)  # not frozen: Python sets __traceback__ on it
class RefusedError(Exception):
    """A request answered with an OpenAI-style error body."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None

    def body(self) -> dict[str, object]:
        """The JSON error object OpenAI's clients parse."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}
