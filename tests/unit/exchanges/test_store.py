"""The store: what one session asked, the next one is served; failures never."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kit.exchanges import answered, digest, failed

from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.exchanges.frame import Kind
from evaldock_entrypoints.exchanges.headers import DeliveryHeader
from evaldock_entrypoints.exchanges.reader import Reader, Record
from evaldock_entrypoints.exchanges.record import Note
from evaldock_entrypoints.exchanges.segments import segment_paths
from evaldock_entrypoints.exchanges.store import Store


def records(folder: Path) -> list[Record]:
    with Reader(folder) as reader:
        return [record for number in range(len(reader.paths)) for record in reader.records(number)]


def keep(folder: Path, *numbers: int, session: str = "first", shared: Path | None = None) -> None:
    with Store(folder, session=session, shared={None: shared} if shared else None) as store:
        for number in numbers:
            store.add(answered(number))


def test_the_next_session_is_served_every_byte(tmp_path: Path) -> None:
    exchange = replace(
        answered(1, 3, response=bytes(range(256)) * 40, reasoning_tokens=7, served_model="m", ttft_ms=2.5),
        is_stream=True,
        role="judge",
        content_type="text/event-stream",
    )
    with Store(tmp_path / "a", session="first") as store:
        store.add(exchange)
    with Store(tmp_path / "a", session="second") as store:
        found = store.find(digest(1), 3)
    assert found is not None
    assert (found.exchange, found.source) == (exchange, "stored")


def test_each_ordinal_has_its_own_answer(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        for ordinal in range(4):
            store.add(answered(1, ordinal, response=b"%d" % ordinal))
    with Store(tmp_path, session="second") as store:
        found = [store.find(digest(1), ordinal) for ordinal in range(5)]
    assert [answer and answer.exchange.response for answer in found] == [b"0", b"1", b"2", b"3", None]


@pytest.mark.parametrize("settle", [lambda _: None, Store.flush], ids=["in memory", "on disk"])
def test_an_answer_nobody_received_serves_the_next_request(
    tmp_path: Path, settle: Callable[[Store], None]
) -> None:
    with Store(tmp_path, session="first") as store:
        store.add(answered(1))
        settle(store)
        found = store.find(digest(1), 0)
        assert found is not None
        assert (found.exchange, found.source) == (answered(1), "asked")
        store.deliver(digest(1), 0, source="asked", arrived=1)
        assert store.find(digest(1), 0) is None  # its ordinal is spent


def test_failures_and_refusals_are_kept_and_never_served(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        store.fail(failed(1), arrived=store.arrived())
        store.fail(replace(failed(2), status=200), arrived=store.arrived())
        store.add(replace(answered(3), status=404))
        assert [store.find(digest(number), 0) for number in (1, 2, 3)] == [None] * 3
    with Store(tmp_path, session="second") as store:
        assert [store.find(digest(number), 0) for number in (1, 2, 3)] == [None] * 3
    assert [record.is_failure for record in records(tmp_path)] == [True, True, False]


def test_of_two_answers_to_one_request_the_later_is_served(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        store.add(answered(1, response=b"early"))
    with Store(tmp_path, session="second", reuse=False) as store:
        assert store.find(digest(1), 0) is None
        store.add(answered(1, response=b"late"))
    with Store(tmp_path, session="third") as store:
        found = store.find(digest(1), 0)
    assert found is not None
    assert found.exchange.response == b"late"


def test_without_reuse_an_answer_of_this_session_is_served_all_the_same(tmp_path: Path) -> None:
    with Store(tmp_path, session="first", reuse=False) as store:
        store.add(answered(1))
        assert store.find(digest(1), 0) is not None


def test_runs_share_answers_and_each_keeps_what_it_was_served(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    with (
        Store(tmp_path / "a", session="a", shared={None: shared}) as one,
        Store(tmp_path / "b", session="b", shared={None: shared}) as other,
    ):
        one.add(answered(1))
        other.add(answered(2))
        other.add(replace(answered(3), status=404))
    with Store(tmp_path / "c", session="c", shared={None: shared}) as store:
        found = [store.find(digest(number), 0) for number in (1, 2, 3)]
        again = store.find(digest(1), 0)
    assert [answer and answer.source for answer in found] == ["shared", "shared", None]
    assert again is not None
    assert (again.source, again.exchange) == ("shared", answered(1))
    assert len(segment_paths(shared)) == 2
    assert {record.digest for record in records(shared)} == {digest(1), digest(2)}
    with Store(tmp_path / "c", session="d") as store:
        kept = store.find(digest(2), 0)
    assert kept is not None
    assert (kept.source, kept.exchange) == ("stored", answered(2))


def test_own_answers_come_before_shared_ones(tmp_path: Path) -> None:
    keep(tmp_path / "other", 1, shared=tmp_path / "shared")
    with Store(tmp_path / "own", session="first") as store:
        store.add(answered(1, response=b"own"))
    with Store(tmp_path / "own", session="second", shared={None: tmp_path / "shared"}) as store:
        found = store.find(digest(1), 0)
    assert found is not None
    assert (found.source, found.exchange.response) == ("stored", b"own")


def test_a_session_without_events_leaves_no_file(tmp_path: Path) -> None:
    with Store(tmp_path, session="idle"):
        pass
    assert segment_paths(tmp_path) == []


def test_deliveries_say_what_was_received(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        arrived = store.arrived()
        notes: dict[str, Note] = {"turn": 2, "reasoning": True, "what": "half a \ud800 pair"}
        store.deliver(digest(1), 4, source="shared", arrived=arrived, notes=notes)
    (record,) = records(tmp_path)
    assert (record.digest, record.ordinal, record.is_failure) == (digest(1), 4, False)
    header = record.header
    assert isinstance(header, DeliveryHeader)
    assert (header.session, header.source, header.arrived) == ("first", "shared", 1)
    assert header.notes == {"turn": 2, "reasoning": True, "what": "half a ? pair"}
    assert header.sequence > header.arrived


def test_a_link_among_the_segments_is_not_followed(tmp_path: Path) -> None:
    keep(tmp_path / "elsewhere", 1)
    (there,) = segment_paths(tmp_path / "elsewhere")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / there.name).symlink_to(there)
    with Store(tmp_path / "own", session="second") as store:
        assert store.find(digest(1), 0) is None
        assert store.corrupt == 1


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExecutionError, match="exchanges cannot be kept") as caught:
        Store(tmp_path / "file" / "exchanges", session="first")
    assert str(tmp_path) in str(caught.value.where)


def test_a_digest_that_only_looks_alike_is_not_served(tmp_path: Path) -> None:
    """The index knows 60 bits of a key; the record itself is asked for the rest."""
    keep(tmp_path, 1)
    alike = digest(1)[:8] + bytes(8)
    with Store(tmp_path, session="second") as store:
        assert store.find(alike, 0) is None
        assert store.find(digest(1), 0) is not None


def test_kinds_keep_their_numbers() -> None:
    """They are on disk."""
    assert [(kind.name, kind.value) for kind in Kind] == [
        ("EXCHANGE", 1),
        ("FAILURE", 2),
        ("DELIVERY", 3),
        ("START", 4),
    ]
