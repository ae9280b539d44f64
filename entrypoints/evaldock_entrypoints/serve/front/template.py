"""Chat templates, rendered as transformers renders them, in jinja2's sandbox."""

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from evaldock_entrypoints.serve.front.errors import bad_request
from evaldock_entrypoints.serve.front.protocol import ModelInfo


def render_chat(
    info: ModelInfo,
    messages: Sequence[Mapping[str, object]],
    *,
    add_generation_prompt: bool,
    values: Mapping[str, object],
) -> str:
    """Return the conversation as the model's template writes it. Raises ApiError 400."""
    if not info.chat_template:
        raise bad_request("This model has no chat template; use /v1/completions.", "messages")
    given = {"bos_token": info.bos_token or "", "eos_token": info.eos_token or "", **values}
    try:
        return _compiled(info.chat_template).render(
            messages=list(messages), add_generation_prompt=add_generation_prompt, **given
        )
    except jinja2.TemplateError as error:
        raise bad_request(f"The chat template refuses these messages: {error}", "messages") from error


@functools.lru_cache(maxsize=4)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment.from_string(template)


def _tojson(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now(tz=datetime.UTC).strftime(form)
