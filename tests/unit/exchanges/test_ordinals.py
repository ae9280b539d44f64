"""Ordinals: as many as there are repeats, and a timeout shifts nothing."""

import tracemalloc
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from tests.kit.exchanges import digest

from evaldock_entrypoints.exchanges.ordinals import Ordinals

ONE, OTHER = digest(1), digest(2)


@dataclass(eq=False)
class Client:
    """Who waits for an answer until he hangs up."""

    gone: bool = False

    def is_gone(self) -> bool:
        return self.gone


def test_repeats_at_once_get_distinct_ordinals() -> None:
    ordinals = Ordinals()
    assert [ordinals.claim(ONE, Client()) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert ordinals.claim(OTHER, Client()) == 0


def test_repeats_one_after_another_get_distinct_ordinals() -> None:
    ordinals = Ordinals()
    for expected in range(4):
        client = Client()
        assert ordinals.claim(ONE, client) == expected
        ordinals.delivered(ONE, expected, client)


def test_a_timeout_in_between_shifts_nothing() -> None:
    """Of four repeats the second hangs up and asks again while the others are under way."""
    ordinals = Ordinals()
    clients = [Client() for _ in range(4)]
    for client in clients:
        ordinals.claim(ONE, client)
    clients[1].gone = True
    again = Client()
    assert ordinals.claim(ONE, again) == 1
    ordinals.released(ONE, 1, clients[1])  # the first asker's handler ends only now
    assert ordinals.claim(ONE, Client()) == 4
    ordinals.delivered(ONE, 1, again)
    assert ordinals.claim(ONE, Client()) == 5


def test_a_released_ordinal_is_handed_out_again() -> None:
    ordinals, client = Ordinals(), Client()
    assert ordinals.claim(ONE, client) == 0
    ordinals.released(ONE, 0, client)
    assert ordinals.claim(ONE, client) == 0


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "deliver", "release", "hang up"]), st.integers(0, 2), st.integers(0, 30)
    ),
    max_size=60,
)


@given(_STEPS)
def test_any_order_of_events_gives_what_the_plain_model_gives(steps: list[tuple[str, int, int]]) -> None:
    ordinals = Ordinals()
    delivered: set[tuple[int, int]] = set()
    holders: dict[tuple[int, int], Client] = {}
    claims: list[tuple[int, int, Client]] = []
    for what, request, choice in steps:
        if what == "claim":
            expected = 0
            while (request, expected) in delivered or (
                (request, expected) in holders and not holders[request, expected].gone
            ):
                expected += 1
            client = Client()
            assert ordinals.claim(digest(request), client) == expected
            holders[request, expected] = client
            claims.append((request, expected, client))
        elif claims:
            request, ordinal, client = claims[choice % len(claims)]
            is_holder = holders.get((request, ordinal)) is client
            if what == "hang up":
                client.gone = True
            elif what == "release":
                ordinals.released(digest(request), ordinal, client)
            elif is_holder:
                ordinals.delivered(digest(request), ordinal, client)
                delivered.add((request, ordinal))
            if what in ("release", "deliver") and is_holder:
                del holders[request, ordinal]


def test_a_hundred_thousand_requests_take_little_memory() -> None:
    ordinals, client = Ordinals(), Client()
    digests = [digest(number) for number in range(100_000)]
    tracemalloc.start()
    for one in digests:
        ordinals.delivered(one, ordinals.claim(one, client), client)
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used_bytes < 100_000 * 120
