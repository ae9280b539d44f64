"""What an error of the connection means."""

from evaldock_entrypoints.adapter.upstream.exchanger import (
    IdleError,
    NoDescriptorError,
    NoHttpError,
    ProxyRefusedError,
    TlsError,
    UnfitError,
    UnreachedError,
)
from evaldock_entrypoints.adapter.upstream.failure import Failure
from evaldock_entrypoints.adapter.upstream.judging import cut, invalid

_BAD_GATEWAY, _GATEWAY_TIMEOUT = 502, 504


def failure_of(error: Exception, *, is_begun: bool, timeout_s: float) -> Failure:
    """Return the failure behind an error. is_begun: the answer's head had come."""
    match error:
        case UnfitError():
            return invalid(str(error), is_retriable=False)
        case IdleError():
            return Failure(kind="idle", message="the answer stopped coming", status=_GATEWAY_TIMEOUT)
        case TimeoutError():
            message = f"no whole answer within {timeout_s:.3g} s"
            return Failure(kind="timeout", message=message, status=_GATEWAY_TIMEOUT)
    if is_begun:
        return cut(f"the connection broke off within the answer ({type(error).__name__})")
    return _before_the_head(error)


def _before_the_head(error: Exception) -> Failure:
    match error:
        case UnreachedError():
            return _no_connection(str(error), is_unreached=True)
        case NoDescriptorError():
            return _no_connection("too many open files here (ulimit -n)", is_local=True)
        case TlsError():
            return _no_connection(f"TLS: {error}")
        case ProxyRefusedError():
            return _no_connection(f"the proxy answers status {error}")
        case NoHttpError():
            return invalid("what came is no HTTP response")
    message = f"the connection ended before an answer came ({type(error).__name__})"
    return Failure(kind="connect", message=message, status=_BAD_GATEWAY, is_dropped=True)


def _no_connection(why: str, *, is_unreached: bool = False, is_local: bool = False) -> Failure:
    return Failure(
        kind="connect",
        message=f"no connection: {why}",
        status=_BAD_GATEWAY,
        is_unreached=is_unreached,
        is_local=is_local,
    )
