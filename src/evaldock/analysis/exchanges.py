"""The exchanges of a run, read from its folder, which may have been tampered with."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from evaldock.analysis.exchange_text import asked, said, text_of
from evaldock.analysis.records import TaskRecord
from evaldock.untrusted_files import is_folder
from evaldock_entrypoints.contract.adapter import EXCHANGES
from evaldock_entrypoints.exchanges.fingerprint import fingerprint
from evaldock_entrypoints.exchanges.frame import Kind
from evaldock_entrypoints.exchanges.headers import DeliveryHeader, ExchangeHeader
from evaldock_entrypoints.exchanges.reader import Reader, Record
from evaldock_entrypoints.exchanges.record import Exchange, Source

MOST_BYTES = 64 * 1024**2  # of one exchange's bodies, unpacked


@dataclass(frozen=True, kw_only=True)
class Found:
    """One exchange of a run. received: how the harness got it at last; None: it never did."""

    task: str
    session: str
    exchange: Exchange
    received: Source | None

    @property
    def key(self) -> str:
        """As the adapter tells it to harnesses, and samples keep it."""
        return f"{self.exchange.digest.hex()}:{self.exchange.ordinal}"

    @property
    def asked(self) -> str:
        return asked(self.exchange.request)

    @property
    def said(self) -> str:
        if self.exchange.facts.error is not None:
            return self.exchange.facts.message or text_of(self.exchange.response)
        return said(self.exchange.response, is_stream=self.exchange.is_stream)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which exchanges. key: the beginning of one; pattern: text or a regular expression, in either body."""

    key: str = ""
    is_failed: bool = False
    is_truncated: bool = False
    pattern: str | None = None

    def is_among_heads(self, record: Record, header: ExchangeHeader) -> bool:
        """Tell whether it may be one of these, before its bodies are read."""
        key = f"{record.digest.hex()}:{record.ordinal}"
        is_failed = record.is_failure or not 200 <= header.status < 300
        return (
            key.startswith(self.key)
            and (is_failed or not self.is_failed)
            and (header.facts.truncated > 0 or not self.is_truncated)
        )


@dataclass(kw_only=True)
class Search:
    """A way through the exchanges of several tasks."""

    tasks: Sequence[TaskRecord]
    wanted: Wanted
    folders: int = 0  # of tasks that have exchanges, so far
    _readers: list[Reader] = field(default_factory=list)

    @property
    def damaged(self) -> int:
        """How many places were met so far that could not be read."""
        return sum(reader.corrupt for reader in self._readers)

    def results(self) -> Iterator[Found]:
        """Yield them in the order of the tasks, and of time within each."""
        matches = _matcher(self.wanted.pattern)
        for task in self.tasks:
            folder = task.path / EXCHANGES
            if is_folder(folder):
                self.folders += 1
                yield from filter(matches, self._of_task(task.name, folder))

    def _of_task(self, task: str, folder: Path) -> Iterator[Found]:
        with Reader(folder) as reader:
            self._readers.append(reader)
            received = _received(reader)
            reader.corrupt = 0  # the second way meets the same damage again
            for record in _records(reader, (Kind.EXCHANGE, Kind.FAILURE)):
                header = record.header
                if not isinstance(header, ExchangeHeader) or not self.wanted.is_among_heads(record, header):
                    continue
                exchange = reader.read(record.place, most_bytes=MOST_BYTES)
                if exchange is not None:
                    key = fingerprint(record.digest, record.ordinal)
                    source = None if record.is_failure else received.get(key)
                    yield Found(task=task, session=header.session, exchange=exchange, received=source)


def _records(reader: Reader, kinds: Sequence[Kind]) -> Iterator[Record]:
    for number in range(len(reader.paths)):
        yield from reader.records(number, kinds)


def _received(reader: Reader) -> dict[int, Source]:
    return {
        fingerprint(record.digest, record.ordinal): record.header.source
        for record in _records(reader, (Kind.DELIVERY,))
        if isinstance(record.header, DeliveryHeader)
    }


def _matcher(pattern: str | None) -> Callable[[Found], bool]:
    """Return what tells whether an exchange holds the pattern, as text or as a regular expression."""
    if pattern is None:
        return lambda _: True
    alternatives = [re.compile(re.escape(pattern))]
    with suppress(re.error):
        alternatives.append(re.compile(pattern))

    def matches(found: Found) -> bool:
        bodies = (text_of(found.exchange.request), text_of(found.exchange.response))
        texts = (found.asked, found.said, *bodies)
        return any(expression.search(text) for expression in alternatives for text in texts)

    return matches
