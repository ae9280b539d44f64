"""`evaldock query`."""

import json
import sys
from dataclasses import replace
from typing import Any, cast

import click

from evaldock.cli.endpoint import Flags, probe_of
from evaldock.visible_text import one_line, visible
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe import Probe
from evaldock_entrypoints.probe.models import read_listing
from evaldock_entrypoints.probe.questions import Answer, ask_text
from evaldock_entrypoints.probe.survey import only_model


@click.command()
@click.argument("target", metavar="URL|DOCUMENT")
@click.argument("prompt")
@click.option("--model_id", help="Model name as the endpoint knows it; default: the only one it lists.")
@click.option("--type", "endpoint_type", type=click.Choice(["chat", "completions"]), help="Default: chat.")
@click.option("--api_key_name", help="Name of the variable that holds the key.")
@click.option("--system", help="System message; chat only.")
@click.option("--max_new_tokens", type=click.IntRange(min=1), help="Longest answer; default: the server's.")
@click.option("--temperature", type=click.FloatRange(min=0), help="Default: the server's.")
@click.option("--seed", type=int, help="Sampling seed; default: none is sent.")
@click.option(
    "--timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    help="Time for the whole answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the server's whole answer.")
def query(target: str, prompt: str, **flags: Any) -> None:
    """Send one PROMPT to an endpoint and show the answer; `-` reads the prompt from standard input.

    \b
    evaldock query http://localhost:8080/v1 "What is 2 + 2?"
    evaldock query eval.yaml - --max_new_tokens 200 < prompt.txt
    """
    given = Flags(
        model_id=flags["model_id"],
        type=cast(EndpointType | None, flags["endpoint_type"]),
        api_key_name=flags["api_key_name"],
    )
    probe, wanted = probe_of(target, given, timeout_s=flags["timeout_s"])
    kind: EndpointType = "completions" if wanted in ("completions", "completions_logprob") else "chat"
    body = _body(kind, _prompt(prompt), flags)
    probe = _with_model(probe)
    answer = ask_text(probe, kind, body)
    _show(probe, kind, answer, as_json=flags["as_json"])


def _prompt(text: str) -> str:
    try:
        prompt = sys.stdin.read() if text == "-" else text
    except UnicodeDecodeError as error:
        raise UsageError(
            "the prompt is not UTF-8 text",
            where="standard input",
            next_step="iconv --from-code=latin1 --to-code=utf-8 FILE | evaldock query URL -",
        ) from error
    if not prompt.strip():
        raise UsageError("the prompt is empty", where="PROMPT", next_step='evaldock query URL "PROMPT"')
    return prompt


def _body(kind: EndpointType, prompt: str, flags: dict[str, Any]) -> dict[str, Any]:
    if kind == "completions":
        if flags["system"] is not None:
            raise UsageError(
                "completions have no system message",
                where="--system",
                next_step="write it into the prompt, or leave out --type completions",
            )
        body: dict[str, Any] = {"prompt": prompt}
    else:
        system = [] if flags["system"] is None else [{"role": "system", "content": flags["system"]}]
        body = {"messages": [*system, {"role": "user", "content": prompt}]}
    settings = {
        "max_tokens": flags["max_new_tokens"],
        "temperature": flags["temperature"],
        "seed": flags["seed"],
    }
    return body | {name: value for name, value in settings.items() if value is not None}


def _with_model(probe: Probe) -> Probe:
    if probe.endpoint.model_id:
        return probe
    model_id = only_model(probe, read_listing(probe))
    click.echo(f"evaldock: model {model_id}, the only one that is listed", err=True)
    return replace(probe, endpoint=replace(probe.endpoint, model_id=model_id))


def _show(probe: Probe, kind: EndpointType, answer: Answer, *, as_json: bool) -> None:
    if as_json:
        tree = {
            "url": probe.endpoint.base_url,
            "model_id": probe.endpoint.model_id,
            "type": kind,
            "text": answer.text,
            "finish_reason": answer.finish_reason,
            "latency_ms": round(answer.latency_ms, 1),
            "answer": answer.raw,
        }
        click.echo(json.dumps(tree, indent=2))
        return
    click.echo(visible(answer.text or ""))
    click.echo(f"evaldock: {one_line(_facts(answer))}", err=True)


def _facts(answer: Answer) -> str:
    usage = answer.usage or {}
    counts = [f"{usage[key]} {words}" for key, words in _COUNTS.items() if isinstance(usage.get(key), int)]
    return ", ".join(
        [
            *([] if answer.text else ["the answer holds no text"]),
            f"finish_reason {answer.finish_reason or 'not given'}",
            *(counts or ["tokens not counted"]),
            f"{answer.latency_ms:.0f} ms",
        ]
    )


_COUNTS = {"prompt_tokens": "tokens in", "completion_tokens": "tokens out"}
