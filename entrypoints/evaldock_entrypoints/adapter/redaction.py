"""Takes secrets out of what is kept, shown or handed on."""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
_SHORTEST = 6  # a shorter value would hit ordinary words
# What looks like a credential. Quotes, backslashes and brackets end it, so that JSON stays JSON.
_VALUE = r"[^\s\"',;&<>{}\\]+"
_PATTERNS = (
    rf"(?i)(\b(?:bearer|basic)\s+)(?=\S{{{_SHORTEST},}}){_VALUE}",
    rf"(?i)((?:api[-_]?key|access[-_]?token|authorization)\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!bearer|basic){_VALUE}",
    r"()\b(?:sk|hf|nvapi|gsk|xai|ghp)[-_][A-Za-z0-9_-]{16,}",
)
_HINTS = re.compile(r"(?i)bearer|basic|key|token|authorization|sk-|hf_|nvapi-|gsk_|xai-|ghp_")


class Redaction:
    """Replaces secret values, in the forms they take in URLs, JSON and headers, and what looks like a key."""

    def __init__(self, secrets: Sequence[str]) -> None:
        values = [secret for secret in secrets if len(secret) >= _SHORTEST]
        found = {form for value in values for form in _forms(value)}
        self._texts = sorted(found, key=len, reverse=True)
        self._encoded = [form.encode() for form in self._texts]
        self._patterns = [re.compile(pattern) for pattern in _PATTERNS]
        self._literals = [
            value.encode() for value in sorted({*values, *map(_in_json, values)}, key=len)[::-1]
        ]

    def __call__(self, text: str) -> str:
        return self.text(text)

    def text(self, text: str) -> str:
        """Return a message or a line of output without secrets, and without what looks like one."""
        text = _replaced(text, self._texts)
        if _HINTS.search(text):
            for pattern in self._patterns:
                text = pattern.sub(rf"\1{REDACTED}", text)
        return text

    def error_body(self, raw: bytes) -> bytes:
        """Return the body of an error without secrets, and without what looks like one."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
            return self.text(text).encode("latin-1")
        return self.text(text).encode()

    def headers(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Return an answer's headers without the secret values."""
        whole = "\n".join(given.values())
        if not any(value in whole for value in self._texts):
            return given
        return {name: _replaced(text, self._texts) for name, text in given.items()}

    def of_stream(self) -> "StreamRedaction":
        """Return what does to an answer that comes part by part as `answer_body` does to a whole one."""
        return StreamRedaction(self._literals)

    def answer_body(self, raw: bytes) -> bytes:
        """Return a model's answer without the secret values themselves; nothing else in it is changed."""
        for value in self._literals:
            if value in raw:
                raw = raw.replace(value, REDACTED.encode())
        return raw


class StreamRedaction:
    """Replaces secret values in bytes that come in parts: what may begin one waits for the next part."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """secrets: the longest first."""
        self._secrets = secrets
        self._found = re.compile(b"|".join(map(re.escape, secrets)))
        self._held = b""

    def feed(self, part: bytes) -> bytes:
        """Return what may go on now."""
        return self._passed(self._held + part) if self._secrets else part

    def close(self) -> bytes:
        """Return what was held back: nothing follows it."""
        held, self._held = self._held, b""
        return self._found.sub(REDACTED.encode(), held) if held else held

    def _passed(self, text: bytes) -> bytes:
        pieces: list[bytes] = []
        at, open_from = 0, self._begun(text, 0)
        for match in self._found.finditer(text):
            if match.start() >= open_from:  # a longer one may begin there
                break
            pieces += text[at : match.start()], REDACTED.encode()
            at = match.end()
            if at > open_from:
                open_from = self._begun(text, at)
        self._held = text[open_from:]
        return b"".join((*pieces, text[at:open_from]))

    def _begun(self, text: bytes, start: int) -> int:
        """Return where a secret begins that the text's end cuts off, the end where none does."""
        return min((_cut_off(secret, text, start) for secret in self._secrets), default=len(text))


def _cut_off(secret: bytes, text: bytes, start: int) -> int:
    first = secret[:1]
    at = text.find(first, max(start, len(text) - len(secret) + 1))
    while at >= 0 and not secret.startswith(text[at:]):
        at = text.find(first, at + 1)
    return at if at >= 0 else len(text)


def _replaced(text: str, values: Iterable[str]) -> str:
    for value in values:
        if value in text:
            text = text.replace(value, REDACTED)
    return text


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield _in_json(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield from _in_base64(secret.encode())


def _in_json(secret: str) -> str:
    return json.dumps(secret)[1:-1]


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what of a secret shows in base64 wherever it stands, as the password of Basic does after a name.

    Three bytes make four characters; the characters at either end may hold bits of the neighbours.
    """
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).rstrip(b"=")
        start = (0, 2, 3)[before]
        is_whole = (before + len(secret)) % 3 == 0
        inner = encoded[start:] if is_whole else encoded[start:-1]
        if len(inner) >= _SHORTEST:
            yield inner.decode()
