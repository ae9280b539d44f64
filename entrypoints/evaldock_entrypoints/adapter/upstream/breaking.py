"""What an error of the connection means. aiohttp's own words may hold URLs, and are left out."""

import errno
import os

import aiohttp

from evaldock_entrypoints.adapter.upstream.failure import Failure
from evaldock_entrypoints.adapter.upstream.judging import cut, invalid

_BAD_GATEWAY, _GATEWAY_TIMEOUT = 502, 504
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


def failure_of(error: Exception, *, is_begun: bool, timeout_s: float) -> Failure:
    """Return the failure behind an error. is_begun: the answer's head had come."""
    match error:
        case aiohttp.SocketTimeoutError():
            return Failure(kind="idle", message="the answer stopped coming", status=_GATEWAY_TIMEOUT)
        case aiohttp.ConnectionTimeoutError():
            return _unreached("no connection within the time allowed for it")
        case TimeoutError():
            message = f"no whole answer within {timeout_s:.3g} s"
            return Failure(kind="timeout", message=message, status=_GATEWAY_TIMEOUT)
    if is_begun:
        return cut(f"the connection broke off within the answer ({type(error).__name__})")
    return _before_the_head(error)


def _before_the_head(error: Exception) -> Failure:
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return Failure(kind="connect", message=f"no connection: TLS: {error}", status=_BAD_GATEWAY)
        case aiohttp.ClientConnectorError() if error.errno in _NO_DESCRIPTOR:
            message = "no connection: too many open files here (ulimit -n)"
            return Failure(kind="connect", message=message, status=_BAD_GATEWAY, is_local=True)
        case aiohttp.ClientConnectorError():
            return _unreached(f"no connection: {_words(error)}")
        case aiohttp.ClientHttpProxyError():
            message = f"no connection: the proxy answers status {error.status}"
            return Failure(kind="connect", message=message, status=_BAD_GATEWAY)
        case aiohttp.ClientResponseError():
            return invalid("what came is no HTTP response")
    message = f"the connection ended before an answer came ({type(error).__name__})"
    return Failure(kind="connect", message=message, status=_BAD_GATEWAY, is_dropped=True)


def _words(error: aiohttp.ClientConnectorError) -> str:
    """Return the system's words: asyncio's give no reason. Look-ups of names have numbers of their own."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror or error.os_error)


def _unreached(message: str) -> Failure:
    return Failure(kind="connect", message=message, status=_BAD_GATEWAY, is_unreached=True)
