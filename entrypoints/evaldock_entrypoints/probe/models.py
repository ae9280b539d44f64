"""Which models an endpoint lists, and whether the one that answers is the one asked for."""

import difflib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from evaldock_entrypoints.contract.errors import EndpointError
from evaldock_entrypoints.probe.exchange import Json, Probe

_SHOWN_IDS = 8


class UnknownModelError(EndpointError):
    """The endpoint does not serve the model that is asked for."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What /v1/models says: ids in its order, and the context length of each where it tells."""

    ids: tuple[str, ...]
    context_tokens: dict[str, int]
    latency_ms: float


def models_url(base: str) -> str:
    """Return the address of the listing of models."""
    return _with_path(base, urlsplit(base).path + "/models")


def beside_v1(base: str, route: str) -> str:
    """Return the address of a route that stands beside /v1, such as vLLM's /tokenize."""
    return _with_path(base, urlsplit(base).path.removesuffix("/v1") + route)


def read_listing(probe: Probe) -> Listing:
    """Ask for the listing; raises EndpointError."""
    url = models_url(probe.endpoint.base_url)
    begun = time.monotonic()
    answer = probe.get(url)
    latency_ms = (time.monotonic() - begun) * 1000
    cards = [card for card in _list(answer.get("data")) if _is_id(card.get("id"))]
    lengths = {card["id"]: card.get("max_model_len") for card in cards}
    return Listing(
        ids=tuple(card["id"] for card in cards),
        context_tokens={name: length for name, length in lengths.items() if isinstance(length, int)},
        latency_ms=latency_ms,
    )


def known_ids(probe: Probe) -> tuple[str, ...]:
    """Return the ids that the endpoint lists, none where it does not list any."""
    try:
        return read_listing(probe).ids
    except EndpointError:
        return ()


def unknown_model(probe: Probe, ids: Sequence[str]) -> UnknownModelError:
    """Return the error for a model that is not among the ids."""
    asked = probe.endpoint.model_id
    near = [name for name in ids if is_alias(name, asked)] or difflib.get_close_matches(asked, ids, n=1)
    hint = f'did you mean "{probe.shown(near[0])}"? ' if near else ""
    return UnknownModelError(
        f'the endpoint does not serve the model "{asked}"',
        where=probe.endpoint.base_url,
        next_step=f"{hint}it lists {named(probe, ids)}",
    )


def refuse_other_model(probe: Probe, answered: str | None) -> None:
    """Raise UnknownModelError when another model answers than the one asked for.

    Servers may answer under another name of the same model ("gpt-4" as "gpt-4-0613"), so a name that differs
    is taken as wrong only where the endpoint lists its models and the one asked for is not among them.
    """
    asked = probe.endpoint.model_id
    if answered is None or is_alias(answered, asked):
        return
    ids = known_ids(probe)
    if ids and not any(is_alias(name, asked) for name in ids):
        raise UnknownModelError(
            f'the endpoint answers as the model "{probe.shown(answered)}", and "{asked}" was asked for',
            where=probe.endpoint.url,
            next_step=f"set target.api_endpoint.model_id to what it lists: {named(probe, ids)}",
        )


def is_alias(name: str, other: str) -> bool:
    """Tell whether two ids name one model: equal, or one with the folders or the owner before it."""
    longer, shorter = sorted((name.casefold(), other.casefold()), key=len, reverse=True)
    return longer == shorter or longer.endswith(f"/{shorter}")


def named(probe: Probe, ids: Sequence[str]) -> str:
    """Return the ids as a line, the ones nearest to the model asked for where they are many."""
    asked = probe.endpoint.model_id
    near = [*difflib.get_close_matches(asked, ids, n=_SHOWN_IDS, cutoff=0.3), *ids] if asked else list(ids)
    shown = list(dict.fromkeys(near))[:_SHOWN_IDS]
    more = f" and {len(ids) - len(shown)} more" if len(ids) > len(shown) else ""
    return (", ".join(probe.shown(name) for name in shown) or "none") + more


def _with_path(base: str, path: str) -> str:
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value)


def _list(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
