"""What registries' refusals mean."""

import pytest

from evaldock.supply.refusals import Kind, refusal


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("manifest verification failed for digest sha256:00", "other bytes"),
        ('manifest provided does not match manifest digest "sha256:00"', "other bytes"),
        ("filesystem layer verification failed for digest sha256:00", "other bytes"),
        ("unauthorized: authentication required", "not authorised"),
        (
            "pull access denied for x, repository does not exist or may require a login",
            "not authorised",
        ),
        ("no basic auth credentials", "not authorised"),
        ("manifest unknown: manifest unknown", "not there"),
        ("name unknown: repository name not known to registry", "not there"),
        ("dial tcp 127.0.0.1:9: connect: connection refused", "no answer"),
        ("Get https://host/v2/: net/http: TLS handshake timeout", "no answer"),
        ("received unexpected HTTP status: 503 Service Unavailable", "no answer"),
    ],
)
def test_a_message_has_one_meaning(said: str, kind: Kind) -> None:
    assert refusal("host/x", said).kind == kind


def test_a_registrys_words_are_shown_on_one_short_line() -> None:
    found = refusal("host/x", "\x1b[2Jdenied\n" + "x" * 10_000)
    assert found.kind == "not authorised"
    assert "\x1b" not in str(found)
    assert "\n" not in str(found)
    assert len(str(found)) < 400


def test_skopeos_clock_is_not_shown() -> None:
    assert refusal("host/x", 'time="2026-01-01T00:00:00Z" level=fatal msg="no route"').text == '"no route"'
