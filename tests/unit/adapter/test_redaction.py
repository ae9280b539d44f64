"""Secrets are taken out in every form, and ordinary words stay."""

import base64
import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaldock_entrypoints.adapter.redaction import REDACTED, Redaction

SECRET = 'canary/7"+ä 9x&y'
REDACT = Redaction([SECRET, "short"])


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps(SECRET),
        base64.b64encode(f":{SECRET}".encode()).decode(),
        base64.b64encode(f"me:{SECRET}".encode()).decode(),
        base64.b64encode(f"you:{SECRET}!".encode()).decode(),
    ],
)
def test_secret_goes_in_each_form(form: str) -> None:
    text = REDACT.text(f"before {form} after")
    assert REDACTED in text
    assert text.startswith("before ")
    assert text.endswith(" after")
    for rest in (SECRET, form.strip('"')[4:-4]):
        assert rest not in text


@given(st.text(), st.text(), st.text(min_size=6))
def test_no_secret_survives_wherever_it_stands(before: str, after: str, secret: str) -> None:
    redact = Redaction([secret])
    if secret not in REDACTED and secret not in (before + REDACTED + after):
        assert secret not in redact.text(before + secret + after)


@given(st.text(st.characters(codec="utf-8"), min_size=6), st.binary(max_size=6), st.binary(max_size=6))
def test_secret_in_base64_does_not_show(secret: str, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    assert Redaction([secret]).text(encoded) != encoded


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abcdefgh123", f"Authorization: Bearer {REDACTED}"),
        ("authorization: Basic dXNlcjpwYXNz", f"authorization: Basic {REDACTED}"),
        ('{"api_key": "abc123", "x": 1}', f'{{"api_key": "{REDACTED}", "x": 1}}'),
        ("x-api-key: abc", f"x-api-key: {REDACTED}"),
        ("GET /v1?api-key=abc&x=1", f"GET /v1?api-key={REDACTED}&x=1"),
        ("Incorrect API key provided: sk-proj-0123456789abcdef.", f"Incorrect API key provided: {REDACTED}."),
        ("token hf_0123456789abcdefgh is invalid", f"token {REDACTED} is invalid"),
        (r'{"detail": "{\"api_key\": \"abc\"}"}', rf'{{"detail": "{{\"api_key\": \"{REDACTED}\"}}"}}'),
    ],
)
def test_what_looks_like_a_key_goes_from_messages(text: str, redacted: str) -> None:
    assert REDACT.text(text) == redacted
    assert REDACT.error_body(text.encode()) == redacted.encode()


@pytest.mark.parametrize(
    "text",
    ["the bearer of bad news", "max_tokens: 16 is too many", "keys: 4", "short", "a key idea: basics first"],
)
def test_ordinary_words_stay(text: str) -> None:
    assert REDACT.text(text) == text


def test_answers_lose_the_secret_itself_and_nothing_else() -> None:
    raw = json.dumps({"content": f"Use Authorization: Bearer abcdefgh123 and not {SECRET}"}).encode()
    said = json.loads(REDACT.answer_body(raw))["content"]
    assert said == f"Use Authorization: Bearer abcdefgh123 and not {REDACTED}"


def test_error_bodies_stay_json_and_may_be_no_text_at_all() -> None:
    body = json.dumps({"error": {"message": 'api_key="abc" and Bearer xyzxyzxyz'}}).encode()
    assert "abc" not in json.loads(REDACT.error_body(body))["error"]["message"]
    assert REDACT.error_body(b"\xff\xfe Bearer abcdefghij") == b"\xff\xfe Bearer [redacted]"


def test_headers_lose_the_secret_and_are_left_alone_without_one() -> None:
    plain = {"content-type": "application/json", "x-request-id": "7"}
    assert REDACT.headers(plain) is plain
    assert REDACT.headers({"x-request-id": f"id-{SECRET}", **plain, "x": quote(SECRET, safe="")}) == {
        "x-request-id": "7",
        "content-type": "application/json",
        "x": REDACTED,
    }
    assert REDACT.headers({"x-id": f"id-{SECRET}"}) == {"x-id": f"id-{REDACTED}"}


@given(
    st.lists(st.sampled_from(["abcabd", "abcabdabc", "bcabda", "z", "a", "ab", "abc", "x"]), max_size=12),
    st.lists(st.integers(0, 80), max_size=6),
)
def test_answers_lose_the_secret_wherever_their_parts_are_cut(words: list[str], cuts: list[int]) -> None:
    for secrets in (["abcabd"], ["abcabd", "abcabdabc"]):
        redact, whole = Redaction(secrets), "".join(words).encode()
        places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
        stream = redact.of_stream()
        parts = [stream.feed(whole[begin:end]) for begin, end in pairwise(places)]
        said = b"".join((*parts, stream.close()))
        assert said == redact.answer_body(whole)
        assert b"abcabd" not in said


def test_only_what_may_begin_a_secret_waits_for_the_next_part() -> None:
    stream = Redaction(["canary-4711"]).of_stream()
    assert [stream.feed(part) for part in (b"a can", b"teen, a cana", b"ry-47", b"11!", b" can")] == [
        b"a ",
        b"canteen, a ",
        b"",
        b"[redacted]!",
        b" ",
    ]
    assert stream.close() == b"can"
