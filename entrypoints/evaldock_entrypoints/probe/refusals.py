"""What an HTTP status says against an endpoint."""

from dataclasses import dataclass

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import EndpointError
from evaldock_entrypoints.probe.failures import NotReadyError


class KeyRefusedError(EndpointError):
    """The endpoint answered 401 or 403."""


class BusyError(NotReadyError):
    """The endpoint answered 429: it would answer fewer requests."""


class NoRouteError(EndpointError):
    """The endpoint does not have the route, or says so of a model that it does not know."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An answer's status and the server's words, as they may be shown."""

    url: str
    status: int
    said: str
    location: str


def refusal(refused: Refused, endpoint: Endpoint, *, has_key: bool) -> EndpointError | None:
    """Return the error that a status stands for, None for a status of success."""
    match refused.status:
        case 401 | 403:
            return _key(refused, endpoint.api_key_name if has_key else None, endpoint.api_key_name)
        case 404 | 405 | 501:
            return NoRouteError(
                "the endpoint has no such route",
                where=_where(refused),
                next_step="mend target.api_endpoint.url, or choose a type that the endpoint serves",
            )
        case 429:
            return BusyError(_says(refused), where=refused.url, next_step="wait, or ask less at once")
        case status if status >= 500:
            return NotReadyError(_says(refused), where=refused.url, next_step="see the server's log")
        case status if status >= 400:
            return EndpointError(
                f"the endpoint refuses the request: {refused.said or 'it does not say why'}",
                where=f"{refused.url} answered {status}",
                next_step=f'see that it serves the model "{endpoint.model_id}" on this route',
            )
        case status if status >= 300:
            return EndpointError(
                f"the endpoint sends us elsewhere: {refused.location or 'it does not say where'}",
                where=_where(refused),
                next_step="write that address as target.api_endpoint.url, if it is the right one",
            )
    return None


def _key(refused: Refused, used: str | None, name: str | None) -> KeyRefusedError:
    where = _where(refused)
    if used:
        return KeyRefusedError(
            "the endpoint refuses the key", where=where, next_step=f"set the right key in {used}"
        )
    step = (
        f"set its key in {name}"
        if name
        else "put the key into a variable and name that: api_key_name (--api_key_name VARIABLE)"
    )
    return KeyRefusedError("the endpoint wants a key", where=where, next_step=step)


def _says(refused: Refused) -> str:
    return f"the endpoint answers {refused.status}" + (f": {refused.said}" if refused.said else "")


def _where(refused: Refused) -> str:
    return f"{refused.url} answered {refused.status}" + (f": {refused.said}" if refused.said else "")
