import pytest

from evaldock_entrypoints.contract.endpoint import base_url, is_local, route_url
from evaldock_entrypoints.contract.errors import UsageError


@pytest.mark.parametrize(
    "written",
    [
        "http://h:8080",
        "http://h:8080/",
        "http://h:8080/v1",
        "http://h:8080/v1/",
        "http://h:8080/v1/chat/completions",
        "http://h:8080/v1/completions/",
    ],
)
def test_an_address_is_understood_with_or_without_route_and_slash(written: str) -> None:
    assert base_url(written) == "http://h:8080/v1"


def test_a_prefix_before_the_route_is_kept() -> None:
    base = base_url("https://h/team/llm/v1/chat/completions")
    assert route_url(base, "completions_logprob") == "https://h/team/llm/v1/completions"


@pytest.mark.parametrize("written", ["h:8080/v1", "ftp://h/v1", "http://", "http://user:pw@h/v1"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(UsageError):
        base_url(written)


@pytest.mark.parametrize(
    "written",
    [
        "http://user:canary@h/v1",
        "ftp://user:canary@h/v1",
        "user:canary@h/v1",
        "http://h/v1?api_key=canary",
        "https://h/v1/chat/completions?api-version=1&token=canary",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(written: str) -> None:
    with pytest.raises(UsageError) as raised:
        base_url(written)
    assert "canary" not in raised.value.render()


def test_a_query_without_a_secret_is_kept() -> None:
    base = base_url("https://h/v1/chat/completions?api-version=2024-10-21")
    assert route_url(base, "chat") == "https://h/v1/chat/completions?api-version=2024-10-21"


def test_localhost_in_every_spelling_is_local() -> None:
    assert all(is_local(f"http://{host}:1/v1") for host in ("localhost", "127.0.0.1", "[::1]"))
    assert not is_local("http://server:1/v1")
