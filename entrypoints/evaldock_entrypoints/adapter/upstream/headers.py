"""Which headers go to an endpoint, and which of its answer's go on to the harness."""

from collections.abc import Mapping

_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
NOT_SENT = _HOP_BY_HOP | {"host", "content-length", "accept-encoding", "expect"}
_NOT_GIVEN = _HOP_BY_HOP | {"content-length", "content-encoding", "set-cookie", "date", "server", "alt-svc"}


class SentHeaders:
    """The headers of requests. fixed: those of every request, which go in place of the harness's own."""

    def __init__(self, api_key: str | None) -> None:
        self.fixed = {"accept-encoding": "identity"}
        if api_key is not None:
            self.fixed["authorization"] = f"Bearer {api_key}"
        self._left_out = NOT_SENT | self.fixed.keys()

    def passed_on(self, asked: Mapping[str, str]) -> Mapping[str, str]:
        """Return those of the harness's headers that go out."""
        if self._left_out.isdisjoint(asked):
            return asked
        return {name: value for name, value in asked.items() if name not in self._left_out}


def given(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of an answer's headers that are for the harness."""
    return {name: value for name, value in headers.items() if name not in _NOT_GIVEN}
