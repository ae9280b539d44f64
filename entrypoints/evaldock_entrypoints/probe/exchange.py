"""One request to an endpoint, bounded in time and size."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.auth import AuthBase

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import EndpointError
from evaldock_entrypoints.probe.bounded import within
from evaldock_entrypoints.probe.failures import no_answer, time_up
from evaldock_entrypoints.probe.refusals import Refused, refusal

Json = dict[str, Any]

MAX_ANSWER_BYTES = 8 * 1024**2  # the listing of a large gateway has half a mebibyte
OTHER_API = "see that this address is that of an OpenAI-compatible API, such as http://HOST:PORT/v1"
_READ_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP answer, read to its end."""

    url: str
    status: int
    body: bytes
    location: str
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class Probe:
    """An endpoint under test; api_key is the key's value, if any.

    timeout_s bounds one request from its start to its last byte, deadline (of time.monotonic) all of them.
    """

    endpoint: Endpoint
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    deadline: float | None = None
    session: requests.Session = field(default_factory=requests.Session, repr=False, compare=False)

    def post(self, url: str, body: Mapping[str, Any]) -> Json:
        """Return the JSON answer; raises NotReadyError or EndpointError."""
        return self.read(self.send("POST", url, body))

    def get(self, url: str) -> Json:
        """Return the JSON answer; raises NotReadyError or EndpointError."""
        return self.read(self.send("GET", url))

    def send(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, *, with_key: bool = True
    ) -> Reply:
        """Return the answer, whatever its status; raises EndpointError where none comes in time."""
        limit_s = self._left_s()
        bearer = _Bearer(self.api_key if with_key else None)
        try:
            return within(limit_s, lambda: _exchange(self.session, method, url, body, bearer, limit_s))
        except TimeoutError as error:
            raise time_up(url, limit_s) from error
        except (requests.RequestException, UnicodeError) as error:
            raise no_answer(error, url, limit_s) from error

    def read(self, reply: Reply) -> Json:
        """Return the object that an answer holds; raises NotReadyError or EndpointError."""
        refused = Refused(
            url=reply.url,
            status=reply.status,
            said=self.shown(_words(reply.body)) if reply.status >= 300 else "",
            location=self.shown(reply.location),
        )
        error = refusal(refused, self.endpoint, has_key=self.api_key is not None)
        if error is not None:
            raise error
        try:
            answer = json.loads(reply.body)
        except (ValueError, RecursionError) as error:
            raise EndpointError(
                "the endpoint's answer is not JSON", where=reply.url, next_step=OTHER_API
            ) from error
        if not isinstance(answer, dict):
            raise EndpointError(
                "the endpoint's answer is not a JSON object", where=reply.url, next_step=OTHER_API
            )
        return answer

    def shown(self, text: str) -> str:
        """Return the server's words as one harmless line that does not hold the key."""
        hidden = text.replace(self.api_key, "***") if self.api_key else text
        line = "".join(character if character.isprintable() else " " for character in hidden)
        return " ".join(line.split())[:_SHOWN_CHARACTERS]

    def _left_s(self) -> float:
        left_s = self.timeout_s if self.deadline is None else self.deadline - time.monotonic()
        return max(0.0, min(self.timeout_s, left_s))


@dataclass(frozen=True)
class _Bearer(AuthBase):
    """Sets the key, or sees to it that none is sent: without an `auth`, requests takes one from ~/.netrc."""

    key: str | None = field(repr=False)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key}"
        return request


def _exchange(
    session: requests.Session,
    method: str,
    url: str,
    body: Mapping[str, Any] | None,
    bearer: _Bearer,
    limit_s: float,
) -> Reply:
    begun = time.monotonic()
    with session.request(
        method,
        url,
        json=body,
        auth=bearer,
        timeout=max(limit_s, 0.001),
        stream=True,
        allow_redirects=False,  # a POST would become a GET, and harnesses are not told
        headers={"Accept-Encoding": "identity"},
    ) as response:
        return Reply(
            url=url,
            status=response.status_code,
            body=_bounded_body(response, url),
            location=response.headers.get("Location", ""),
            latency_ms=(time.monotonic() - begun) * 1000,
        )


def _bounded_body(response: requests.Response, url: str) -> bytes:
    body = bytearray()
    for part in response.iter_content(_READ_BYTES):
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise EndpointError(
                f"the endpoint's answer is larger than {MAX_ANSWER_BYTES // 1024**2} MiB",
                where=url,
                next_step=OTHER_API,
            )
    return bytes(body)


def _words(body: bytes) -> str:
    """Return what an error's body says: its message in the shapes that servers use, else its text."""
    text = body[:4096].decode(errors="replace")
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        return text
    while isinstance(tree, dict):
        tree = next((tree[key] for key in ("error", "message", "detail") if tree.get(key)), text)
    return tree if isinstance(tree, str) else text
