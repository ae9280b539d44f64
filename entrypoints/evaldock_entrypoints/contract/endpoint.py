"""Endpoint addresses: with or without the route, with or without a trailing slash."""

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.secrets import is_secret_name

ROUTES: dict[EndpointType, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "completions_logprob": "/completions",
    "embedding": "/embeddings",
}
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})


def base_url(url: str, *, place: str = "target.api_endpoint.url") -> str:
    """Return the address up to and with /v1, whatever route the user wrote; raises UsageError."""
    parts = _parts(url)
    if parts is None:
        raise UsageError(
            f'"{url.rpartition("@")[2]}" is not an http(s) address',
            where=place,
            next_step="write http://HOST:PORT/v1/chat/completions",
        )
    if parts.username or parts.password:
        raise UsageError(
            "the endpoint's address holds a login", where=place, next_step="use api_key_name instead"
        )
    if any(is_secret_name(name) for name, _ in parse_qsl(parts.query)):
        raise UsageError(
            "the endpoint's address holds a key", where=place, next_step="use api_key_name instead"
        )
    path = parts.path.rstrip("/")
    for route in sorted(set(ROUTES.values()), key=len, reverse=True):
        if path.endswith(route):
            path = path.removesuffix(route)
            break
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", parts.query, ""))


def _parts(url: str) -> SplitResult | None:
    """Return the parts of an http(s) address, None for anything else."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def type_of_route(url: str) -> EndpointType | None:
    """Return the endpoint type whose route the address ends with, None where it ends before the route."""
    path = urlsplit(url).path.rstrip("/")
    types: tuple[EndpointType, ...] = ("chat", "completions", "embedding")
    return next((one for one in types if path.endswith(ROUTES[one])), None)


def route_url(base: str, endpoint_type: EndpointType) -> str:
    """Return the full address of the route that serves this endpoint type."""
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, parts.path + ROUTES[endpoint_type], parts.query, ""))


def is_local(url: str) -> bool:
    """Tell whether the address means this very host."""
    return (urlsplit(url).hostname or "") in LOCAL_HOSTS


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the model answers. `url` carries the route of `type`, `base_url` ends in /v1."""

    base_url: str
    url: str
    model_id: str
    type: EndpointType
    api_key_name: str | None = None


def endpoint_at(
    url: str, *, model_id: str, endpoint_type: EndpointType, api_key_name: str | None
) -> Endpoint:
    """Return the endpoint at an address as a user wrote it; raises UsageError."""
    base = base_url(url)
    return Endpoint(
        base_url=base,
        url=route_url(base, endpoint_type),
        model_id=model_id,
        type=endpoint_type,
        api_key_name=api_key_name,
    )
