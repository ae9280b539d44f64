"""Typed reading of a JSON body; what nobody knows is refused, so that no parameter is silently dropped."""

from collections.abc import Mapping

import orjson

from evaldock_entrypoints.serve.front.errors import bad_request

# Accepted and without effect on the answer.
HARMLESS = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "parallel_tool_calls",
    }
)
# Known, not carried out: accepted only with the value that means "off".
NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "best_of": (1,),
    "suffix": ("",),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "min_p": (0,),
    "min_tokens": (0,),
    "use_beam_search": (False,),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "return_token_strs": (False,),
}


def parse_object(body: bytes) -> dict[str, object]:
    """Parse a request body that must be a JSON object."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The body is not valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise bad_request("The body must be a JSON object.")
    return parsed


class Fields:
    """The fields of one body; every read marks its field as known, null counts as absent."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self._known: set[str] = set()

    def raw(self, name: str) -> object:
        """Return the value as parsed, None when absent."""
        self._known.add(name)
        return self._values.get(name)

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number between `low` and `high`, both included."""
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise bad_request(f"'{name}' must be an integer.", name)
        if not low <= value <= high:
            raise bad_request(f"'{name}' must be between {low} and {high}, not {value}.", name)
        return value

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """Return a number between `low` and `high`, both included."""
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise bad_request(f"'{name}' must be a number.", name)
        if not low <= value <= high:
            raise bad_request(f"'{name}' must be between {low:g} and {high:g}, not {value:g}.", name)
        return float(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise bad_request(f"'{name}' must be true or false.", name)
        return value

    def text(self, name: str) -> str | None:
        """Return a string, None when absent."""
        value = self.raw(name)
        if value is not None and not isinstance(value, str):
            raise bad_request(f"'{name}' must be a string.", name)
        return value

    def object(self, name: str) -> dict[str, object]:
        """Return a JSON object, empty when absent."""
        value = self.raw(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise bad_request(f"'{name}' must be an object.", name)
        return value

    def finish(self) -> None:
        """Refuse every field that nobody read and that is not known to be neutral."""
        for name, value in self._values.items():
            if name in self._known or name in HARMLESS or value is None:
                continue
            if name not in NEUTRAL:
                raise bad_request(f"Unrecognized request argument supplied: {name}", name)
            if value not in NEUTRAL[name]:
                raise bad_request(f"'{name}' is not supported by this server; leave it out.", name)
