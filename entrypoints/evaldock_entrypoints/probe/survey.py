"""Asks an endpoint all that there is to ask, at once and in one bounded time."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar, get_args

from evaldock_entrypoints.contract.endpoint import route_url
from evaldock_entrypoints.contract.errors import EndpointError, UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe.bounded import started
from evaldock_entrypoints.probe.exchange import Probe
from evaldock_entrypoints.probe.failures import NeverAnswersError, NoAnswerError, TimeUpError
from evaldock_entrypoints.probe.findings import Finding, Survey, against, ok
from evaldock_entrypoints.probe.judging import Heard, findings, usable_types
from evaldock_entrypoints.probe.logprobs import Proof, prove_logprobs
from evaldock_entrypoints.probe.models import Listing, beside_v1, named, read_listing
from evaldock_entrypoints.probe.questions import QUESTIONS, Answer, ask_embedding, ask_text
from evaldock_entrypoints.probe.readiness import wait_until_ready
from evaldock_entrypoints.probe.refusals import BusyError, KeyRefusedError

_PAUSES_S = (0.5, 1.5)

T = TypeVar("T")


def survey(probe: Probe, wanted: EndpointType | None, *, limit_s: float) -> Survey:
    """Ask for one type, or for every one; never lasts longer than limit_s.

    An empty model_id stands for the one that the endpoint lists. Raises UsageError where it lists several.
    """
    probe = replace(probe, deadline=time.monotonic() + limit_s)
    # Half of the time, so that an endpoint whose listing hangs is asked the rest all the same.
    listing = _caught(partial(read_listing, replace(probe, timeout_s=min(probe.timeout_s, limit_s / 2))))
    if isinstance(listing, NoAnswerError | NeverAnswersError) and not isinstance(listing, TimeUpError):
        return _cut_short(probe, wanted, against("reachable", listing))
    model_was_named = bool(probe.endpoint.model_id)
    if not model_was_named:
        if isinstance(listing, TimeUpError):
            return _cut_short(probe, wanted, against("reachable", listing))
        if isinstance(listing, KeyRefusedError):
            return _cut_short(probe, wanted, ok("reachable", "answers"), against("key", listing))
        probe = replace(probe, endpoint=replace(probe.endpoint, model_id=only_model(probe, listing)))
    heard = _ask_all(probe, wanted, listing, model_was_named=model_was_named)
    return Survey(
        url=probe.endpoint.base_url,
        model_id=probe.endpoint.model_id,
        wanted=wanted,
        findings=findings(heard),
        usable_types=usable_types(heard),
    )


def ready(probe: Probe, wait_s: float) -> Survey:
    """Wait until the endpoint is ready for its type; raises UsageError or EndpointError."""
    if not probe.endpoint.model_id:
        raise UsageError(
            "no model is named", where="--model_id", next_step="waiting needs one: --model_id MODEL"
        )
    wait_until_ready(probe, wait_s)
    kind = probe.endpoint.type
    return Survey(
        url=probe.endpoint.base_url,
        model_id=probe.endpoint.model_id,
        wanted=kind,
        findings=(ok(kind, "answers as it should"),),
        usable_types=(kind,),
    )


def _cut_short(probe: Probe, wanted: EndpointType | None, *found: Finding) -> Survey:
    """Return a survey that ends before any route was asked."""
    return Survey(
        url=probe.endpoint.base_url,
        model_id=probe.endpoint.model_id,
        wanted=wanted,
        findings=found,
        usable_types=(),
    )


def only_model(probe: Probe, listing: Listing | EndpointError) -> str:
    """Return the one model that is listed; raises UsageError where that is not what the listing holds."""
    ids = () if isinstance(listing, EndpointError) else listing.ids
    if len(ids) == 1:
        return ids[0]
    if ids:
        message, step = f"the endpoint lists {len(ids)} models, and none is named", named(probe, ids)
    else:
        message, step = "no model is named, and the endpoint lists none", "MODEL"
    raise UsageError(message, where=probe.endpoint.base_url, next_step=f"--model_id, one of: {step}")


def _ask_all(
    probe: Probe, wanted: EndpointType | None, listing: Listing | EndpointError, *, model_was_named: bool
) -> Heard:
    types: tuple[EndpointType, ...] = (wanted,) if wanted else get_args(EndpointType)
    asked = {kind: started(partial(_caught, partial(_ask_patiently, probe, kind))) for kind in types}
    tokenizer = {
        route: started(partial(_caught, action))
        for route, action in _tokenizer_questions(probe).items()
        if wanted in (None, "completions_logprob")
    }
    routes = {kind: future.result() for kind, future in asked.items()}
    return Heard(
        probe=probe,
        wanted=wanted,
        model_was_named=model_was_named,
        listing=listing,
        routes=routes,
        tokenizer={route: future.result() for route, future in tokenizer.items()},
        without_key=_without_key(probe, routes),
    )


def _ask_patiently(probe: Probe, kind: EndpointType) -> Answer | Proof:
    """Ask again where fewer requests at once would have been answered."""
    for pause_s in _PAUSES_S:
        try:
            return _ask(probe, kind)
        except BusyError:
            time.sleep(min(pause_s, max(0.0, (probe.deadline or 0.0) - time.monotonic())))
    return _ask(probe, kind)


def _ask(probe: Probe, kind: EndpointType) -> Answer | Proof:
    match kind:
        case "completions_logprob":
            return prove_logprobs(probe)
        case "embedding":
            return ask_embedding(probe)
        case _:
            return ask_text(probe, kind)


def _tokenizer_questions(probe: Probe) -> dict[str, Callable[[], object]]:
    base, body = probe.endpoint.base_url, {"model": probe.endpoint.model_id, "prompt": "yes"}
    return {
        "/tokenizer_info": partial(probe.get, beside_v1(base, "/tokenizer_info")),
        "/tokenize": partial(probe.post, beside_v1(base, "/tokenize"), body),
    }


def _without_key(
    probe: Probe, routes: dict[EndpointType, Answer | Proof | EndpointError]
) -> int | EndpointError | None:
    """Return the status of a question that was answered, asked again without the key; None: not asked."""
    answered = [kind for kind, heard in routes.items() if not isinstance(heard, EndpointError)]
    if probe.api_key is None or not answered:
        return None
    url = route_url(probe.endpoint.base_url, answered[0])
    body = {"model": probe.endpoint.model_id, **QUESTIONS[answered[0]]}
    reply = _caught(partial(probe.send, "POST", url, body, with_key=False))
    return reply if isinstance(reply, EndpointError) else reply.status


def _caught(action: Callable[[], T]) -> T | EndpointError:
    try:
        return action()
    except EndpointError as error:
        return error
