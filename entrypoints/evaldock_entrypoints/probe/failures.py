"""Why no answer came: what failed below HTTP, told apart."""

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests

from evaldock_entrypoints.contract.errors import EndpointError

_MEND = "start the server, or mend target.api_endpoint.url"
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


class NotReadyError(EndpointError):
    """The endpoint may still come up: refused, reset, timed out, or answered 5xx."""


class NoAnswerError(NotReadyError):
    """No HTTP answer came, and one may come later."""


class TimeUpError(NoAnswerError):
    """No whole answer came in time."""


class NeverAnswersError(EndpointError):
    """No HTTP answer came, and none will: what is wrong is the address or the certificate."""


def time_up(url: str, limit_s: float) -> TimeUpError:
    """Return the error for an answer that did not come, or not to its end, within limit_s."""
    step = "see whether it is loaded or still starts; a slow one needs more time"
    if limit_s <= 0:
        return TimeUpError("not asked: the time was up", where=url, next_step=step)
    return TimeUpError(f"the endpoint does not answer within {limit_s:.3g} s", where=url, next_step=step)


def no_answer(error: Exception, url: str, limit_s: float) -> EndpointError:
    """Return the error for a request that got no HTTP answer."""
    causes = list(_causes(error))
    if any(isinstance(cause, requests.exceptions.InvalidURL | UnicodeError) for cause in causes):
        return NeverAnswersError(
            f"the endpoint's address is none: {error}", where=url, next_step="mend target.api_endpoint.url"
        )
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls(cause, url)
    if any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes):
        return _unanswered(
            "the proxy of this environment fails", url, "see HTTP_PROXY, HTTPS_PROXY, NO_PROXY"
        )
    if any(isinstance(cause, requests.Timeout | TimeoutError) for cause in causes):
        return time_up(url, limit_s)
    return _unanswered(*_how(causes, url))


def _how(causes: list[BaseException], url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    for cause in causes:
        match cause:
            case socket.gaierror():
                return f"no address is known for the host {parts.hostname}", url, _MEND
            case ConnectionRefusedError():
                return f"connection refused by {parts.netloc}", url, _MEND
            case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
                other = "http" if parts.scheme == "https" else "https"
                step = (
                    f"see the server's log; one that speaks {other} is asked with {other}:// in its address"
                )
                return "the connection was closed without an answer", url, step
            case http.client.BadStatusLine():
                return "what listens there does not speak HTTP", url, _MEND
            case OSError(errno=number) if number in _NO_ROUTE:
                return f"no network path leads to {parts.hostname}", url, _MEND
    return type(causes[0]).__name__, url, _MEND


def _unanswered(cause: str, url: str, next_step: str) -> NoAnswerError:
    return NoAnswerError(f"the endpoint does not answer: {cause}", where=url, next_step=next_step)


def _tls(cause: ssl.SSLError, url: str) -> EndpointError:
    if isinstance(cause, ssl.SSLCertVerificationError):
        message = f"the endpoint's certificate is refused: {cause.verify_message}"
        step = "name a file with the certificate of its authority in REQUESTS_CA_BUNDLE"
    else:
        message = f"TLS with the endpoint fails: {cause.reason or cause}"
        step = "if the server speaks no TLS, write http:// in target.api_endpoint.url"
    return NeverAnswersError(message, where=url, next_step=step)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that it stands for, outermost first; requests and urllib3 wrap in every way."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]
