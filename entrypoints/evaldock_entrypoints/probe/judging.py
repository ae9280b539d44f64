"""From what an endpoint answered to findings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evaldock_entrypoints.contract.errors import EndpointError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe.exchange import Probe
from evaldock_entrypoints.probe.failures import TimeUpError
from evaldock_entrypoints.probe.findings import Finding, against, note, ok
from evaldock_entrypoints.probe.logprobs import KNOWN_ANSWER, KNOWN_OTHER, Proof
from evaldock_entrypoints.probe.models import Listing, UnknownModelError, is_alias, named, unknown_model
from evaldock_entrypoints.probe.questions import Answer
from evaldock_entrypoints.probe.refusals import KeyRefusedError, NoRouteError

_TOKENIZER_STEP = (
    "for tasks scored by log-probability, give params.extra.tokenizer: the model's tokenizer folder"
)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What came back. without_key: the status of a question without the key, None where none was asked."""

    probe: Probe
    wanted: EndpointType | None
    model_was_named: bool
    listing: Listing | EndpointError
    routes: Mapping[EndpointType, Answer | Proof | EndpointError]
    tokenizer: Mapping[str, object | EndpointError]
    without_key: int | EndpointError | None

    @property
    def answers(self) -> dict[EndpointType, Answer]:
        """The answers of the routes that hold what they promise."""
        found = {
            kind: heard.answer if isinstance(heard, Proof) else heard for kind, heard in self.routes.items()
        }
        return {kind: answer for kind, answer in found.items() if isinstance(answer, Answer)}

    def errors(self, kind: type[EndpointError]) -> list[EndpointError]:
        """The routes' errors of one kind."""
        return [heard for heard in self.routes.values() if isinstance(heard, kind)]


def findings(heard: Heard) -> tuple[Finding, ...]:
    """Return what is to be said, in order."""
    reachable = _reachable(heard)
    if reachable.status == "fail":
        return (reachable,)
    first = [reachable, *_key(heard), *_model(heard)]
    routes = [_route(heard, kind, usable=usable_types(heard)) for kind in heard.routes]
    return (*first, *routes, *_tokenizer(heard), *_usage(heard))


def usable_types(heard: Heard) -> tuple[EndpointType, ...]:
    """Return the types that answered as they should, none where the model or the key is wrong."""
    if any(finding.status == "fail" for finding in (*_key(heard), *_model(heard))):
        return ()
    return tuple(heard.answers)


def _reachable(heard: Heard) -> Finding:
    if isinstance(heard.listing, TimeUpError) and len(heard.errors(TimeUpError)) == len(heard.routes):
        return against("reachable", heard.listing)
    if isinstance(heard.listing, EndpointError):
        return ok("reachable", "answers")
    return ok("reachable", f"answers in {heard.listing.latency_ms:.0f} ms")


def _key(heard: Heard) -> Iterator[Finding]:
    name = heard.probe.endpoint.api_key_name or "the key"
    if not heard.answers:
        refusals = heard.errors(KeyRefusedError)
        if refusals:
            yield against("key", refusals[0])
        return
    match heard.without_key:
        case None:
            yield ok("key", "answers without a key")
        case 401 | 403:
            yield ok("key", f"refuses without a key ({heard.without_key}), accepts with {name}")
        case int() if heard.without_key < 300:
            yield note("key", f"answers without a key too, so {name} proves nothing")
        case int():
            yield note("key", f"accepts {name}; without a key it answers {heard.without_key}")
        case _:
            yield note("key", f"accepts {name}; not known without a key: {heard.without_key.message}")


def _model(heard: Heard) -> Iterator[Finding]:
    unknown, listing, asked = heard.errors(UnknownModelError), heard.listing, heard.probe.endpoint.model_id
    if unknown:
        yield against("model", unknown[0])
    elif isinstance(listing, EndpointError):
        yield note("model", f"not checked, the endpoint does not list its models: {listing.message}")
    elif asked in listing.ids:
        only = "" if heard.model_was_named else "; it is the only one, and none was named"
        yield ok("model", f'"{asked}" is listed{_context(listing, asked)}{only}{_other_name(heard)}')
    elif not listing.ids:
        yield note("model", "not checked, the endpoint lists no models")
    elif any(is_alias(name, asked) for name in listing.ids) and heard.answers:
        yield note("model", f'"{asked}" is answered for, and listed as {named(heard.probe, listing.ids)}')
    else:
        error = unknown_model(heard.probe, listing.ids)
        message = f'"{asked}" is not among the models that are listed'
        yield against("model", EndpointError(message, where=error.where, next_step=error.next_step))


def _context(listing: Listing, model_id: str) -> str:
    length = listing.context_tokens.get(model_id)
    return f", with a context of {length} tokens" if length else ""


def _other_name(heard: Heard) -> str:
    names = {answer.model for answer in heard.answers.values() if answer.model is not None}
    others = sorted(name for name in names if not is_alias(name, heard.probe.endpoint.model_id))
    return f"; answers name it {named(heard.probe, others)}" if others else ""


def _route(heard: Heard, kind: EndpointType, *, usable: tuple[EndpointType, ...]) -> Finding:
    outcome = heard.routes[kind]
    match outcome:
        case Proof():
            return ok(
                kind,
                f'log-probabilities are right: after a known sentence "{KNOWN_ANSWER}" '
                f'gets {outcome.right:.2f}, "{KNOWN_OTHER}" {outcome.wrong:.2f}',
            )
        case Answer():
            return _answered(heard.probe, kind, outcome)
        case KeyRefusedError() if not heard.answers:
            return note(kind, "not known, for the key is wrong")
        case UnknownModelError():
            return note(kind, "not known, for the model is wrong")
    # Without a wanted type, a route that fails is no fault as long as another one works.
    fails = heard.wanted is not None or not usable
    if isinstance(outcome, NoRouteError) and not fails:
        return note(kind, outcome.message)
    return against(kind, outcome, fails=fails)


def _answered(probe: Probe, kind: EndpointType, answer: Answer) -> Finding:
    took = f"answers in {answer.latency_ms:.0f} ms"
    if kind == "embedding" or answer.text:
        return ok(kind, took)
    reason = f" (finish_reason {probe.shown(answer.finish_reason)})" if answer.finish_reason else ""
    return note(
        kind, f"{took}, with an empty text{reason}", "a model that thinks first needs more max_new_tokens"
    )


def _tokenizer(heard: Heard) -> Iterator[Finding]:
    missing = [route for route, answer in heard.tokenizer.items() if isinstance(answer, EndpointError)]
    if not heard.tokenizer:
        return
    if not missing:
        yield ok("tokenizer", " and ".join(heard.tokenizer) + " answer")
    else:
        step = _TOKENIZER_STEP if "/tokenizer_info" in missing else None
        yield note("tokenizer", f"no answer of {' and '.join(missing)}", step)


def _usage(heard: Heard) -> Iterator[Finding]:
    without_usage = [kind for kind, answer in heard.answers.items() if not answer.usage]
    without_reason = [
        kind for kind, answer in heard.answers.items() if answer.choice and not answer.finish_reason
    ]
    if without_usage:
        yield note("usage", f"answers of {', '.join(without_usage)} count no tokens")
    if without_reason:
        found = (
            f"answers of {', '.join(without_reason)} give none: what the length limit cut is not told apart"
        )
        yield note("finish_reason", found)
    if heard.answers and not without_usage and not without_reason:
        yield ok("usage", "answers count their tokens and say why they ended")
