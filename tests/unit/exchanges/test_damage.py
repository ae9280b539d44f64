"""A torn or corrupt store (F29): every whole entry is served, every damaged one is not, and is counted."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.kit.exchanges import answered

from evaldock_entrypoints.exchanges.frame import MAGIC
from evaldock_entrypoints.exchanges.reader import Place, Reader
from evaldock_entrypoints.exchanges.record import Exchange
from evaldock_entrypoints.exchanges.segments import Head, segment_paths
from evaldock_entrypoints.exchanges.store import Store


class Written(NamedTuple):
    exchange: Exchange
    begin: int
    end: int


def exchanges() -> list[Exchange]:
    """Return answers that stay as they are, that compress well and that do not."""
    noise = random.Random(29)
    texts = [b"short", b"word " * 400, noise.randbytes(700), b"x" + MAGIC + b"y", b""]
    return [answered(number, response=text) for number, text in enumerate(texts * 4)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Written]]:
    """Return an undamaged segment, and where each exchange is."""
    folder = tmp_path_factory.mktemp("whole")
    with Store(folder, session="first") as store:
        for exchange in exchanges():
            store.add(exchange)
    with Reader(folder) as reader:
        heads = list(reader.heads(0))
        content = reader.paths[0].read_bytes()
    ends = [head.offset + head.prefix.total_bytes for head in heads]
    assert ends[-1] == len(content)
    return content, [
        Written(exchange, head.offset, end)
        for exchange, head, end in zip(exchanges(), heads, ends, strict=True)
    ]


@contextmanager
def reopened(content: bytes) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{1:020d}-00000000.exchanges").write_bytes(content)
        with Store(Path(folder), session="second") as store:
            yield store


def served(store: Store, exchange: Exchange) -> Exchange | None:
    found = store.find(exchange.digest, exchange.ordinal)
    return found.exchange if found else None


def expect(content: bytes, whole: list[Written], damaged: set[int], *, is_counted: bool = True) -> None:
    with reopened(content) as store:
        for number, written in enumerate(whole):
            wanted = None if number in damaged else written.exchange
            assert served(store, written.exchange) == wanted, number
        assert (store.corrupt > 0) == is_counted


Segment = tuple[bytes, list[Written]]


def test_an_undamaged_segment_is_served_whole(whole: Segment) -> None:
    expect(*whole, damaged=set(), is_counted=False)


@given(st.data())
def test_flipped_bytes_cost_the_entries_they_are_in(whole: Segment, data: st.DataObject) -> None:
    content, written = whole
    flips = data.draw(
        st.dictionaries(st.integers(0, len(content) - 1), st.integers(1, 255), min_size=1, max_size=6)
    )
    spoilt = bytearray(content)
    for position, bits in flips.items():
        spoilt[position] ^= bits
    damaged = {
        number
        for number, entry in enumerate(written)
        if any(entry.begin <= position < entry.end for position in flips)
    }
    expect(bytes(spoilt), written, damaged)


@given(st.data())
def test_a_truncated_segment_serves_what_is_whole(whole: Segment, data: st.DataObject) -> None:
    content, written = whole
    length = data.draw(st.integers(0, len(content)))
    damaged = {number for number, entry in enumerate(written) if entry.end > length}
    is_torn = length not in {0, *(entry.end for entry in written)}
    expect(content[:length], written, damaged, is_counted=is_torn)


@given(st.data())
def test_garbage_costs_nothing_but_the_entry_it_is_in(whole: Segment, data: st.DataObject) -> None:
    content, written = whole
    pieces = st.binary(min_size=1, max_size=80) | st.sampled_from(
        [MAGIC, content[:50], MAGIC * 9, bytes(300)]
    )
    garbage = data.draw(pieces)
    place = data.draw(st.sampled_from([0, *(entry.end for entry in written)]) | st.integers(0, len(content)))
    spoilt = content[:place] + garbage + content[place:]
    damaged = {number for number, entry in enumerate(written) if spoilt.find(_bytes(content, entry)) < 0}
    expect(spoilt, written, damaged)


@given(st.data())
def test_missing_bytes_cost_the_entries_they_are_missing_from(whole: Segment, data: st.DataObject) -> None:
    content, written = whole
    begin = data.draw(st.integers(0, len(content) - 1))
    end = min(begin + data.draw(st.integers(1, 1500)), len(content))
    # As many bytes as some entries have hide those entries: bodies are not read to find where they end.
    bounds = [0, *(entry.end for entry in written)]
    assume(all(late - early != end - begin for early, late in combinations(bounds, 2)))
    spoilt = content[:begin] + content[end:]
    damaged = {number for number, entry in enumerate(written) if spoilt.find(_bytes(content, entry)) < 0}
    expect(spoilt, written, damaged)


def _bytes(content: bytes, entry: Written) -> bytes:
    return content[entry.begin : entry.end]


@settings(max_examples=50)
@given(st.binary(max_size=3000))
def test_any_bytes_can_be_opened(content: bytes) -> None:
    with reopened(content) as store:
        assert served(store, answered(1)) is None


def test_each_damaged_place_is_counted_once(whole: Segment) -> None:
    content, written = whole
    spoilt = bytearray(content)
    for number in (2, 7, 11):
        spoilt[written[number].begin] ^= 1
    with reopened(bytes(spoilt)) as store:
        assert store.corrupt == 3


def test_a_damaged_body_is_asked_for_again_and_then_served(whole: Segment, tmp_path: Path) -> None:
    content, written = whole
    spoilt = bytearray(content)
    spoilt[written[1].end - 1] ^= 1
    (tmp_path / f"{1:020d}-00000000.exchanges").write_bytes(spoilt)
    exchange = written[1].exchange
    with Store(tmp_path, session="second") as store:
        assert served(store, exchange) is None
        assert store.corrupt == 1
        store.add(exchange)
    with Store(tmp_path, session="third") as store:
        assert served(store, exchange) == exchange
        assert store.corrupt == 0


def test_a_segment_that_ends_across_windows_is_found_again(tmp_path: Path) -> None:
    """Garbage longer than what is read at once, with the beginning of a record across its border."""
    with Store(tmp_path, session="first") as store:
        store.add(answered(1))
    (segment,) = segment_paths(tmp_path)
    record = segment.read_bytes()
    for shift in range(-9, 3):
        segment.write_bytes(bytes(256 * 1024 + shift) + record)
        with Reader(tmp_path) as reader:
            assert len(list(reader.heads(0))) == 1
            assert reader.corrupt == 1


def test_a_body_that_claims_to_be_small_is_not_unpacked(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        store.add(answered(1, response=bytes(10_000_000)))
    with Reader(tmp_path) as reader:
        (head,) = reader.heads(0)
        assert isinstance(head, Head)
        place = Place(0, head.offset)
        assert reader.read(place, most_bytes=1_000_000) is None
        assert reader.corrupt == 1
        assert reader.read(place) is not None
