"""The writer: what a kill or a full disk costs, and that both are known."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests.kit.exchanges import digest

from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.exchanges import writer as writer_module
from evaldock_entrypoints.exchanges.frame import Kind
from evaldock_entrypoints.exchanges.reader import Reader
from evaldock_entrypoints.exchanges.segments import segment_paths
from evaldock_entrypoints.exchanges.store import Store
from evaldock_entrypoints.exchanges.writer import Entry, Writer

ROOT = Path(__file__).parents[3]


def entry(number: int, payload: bytes = b"") -> Entry:
    return Entry(Kind.EXCHANGE, 200, 0, digest(number), b"{}", (payload,))


def kept(folder: Path) -> list[bytes]:
    with Reader(folder) as reader:
        found = [head.prefix.digest for number in range(len(reader.paths)) for head in reader.heads(number)]
        assert reader.corrupt == 0
    return found


def child(folder: Path, script: str) -> "subprocess.Popen[str]":
    head = """
        import resource, sys, time
        from pathlib import Path
        from evaldock_entrypoints.contract.errors import ExecutionError
        from evaldock_entrypoints.exchanges.store import Store
        from tests.kit.exchanges import answered
        store = Store(Path(sys.argv[1]), session="child")
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    argv = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def killed_after_its_word(folder: Path, script: str) -> None:
    with child(folder, script + '\nprint("now", flush=True)\ntime.sleep(60)\n') as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)


def test_a_kill_costs_no_more_than_the_batches_under_way(tmp_path: Path) -> None:
    burst = "for number in range(1000):\n    store.add(answered(number)); time.sleep(0.0002)"
    killed_after_its_word(tmp_path, burst)
    found = kept(tmp_path)
    assert found == [digest(number) for number in range(len(found))]
    assert len(found) >= 1000 - 2 * 64  # one batch that fills, one that is being written


def test_a_kill_costs_nothing_that_is_older_than_a_second(tmp_path: Path) -> None:
    killed_after_its_word(tmp_path, "store.add(answered(1)); store.add(answered(2)); time.sleep(1.3)")
    assert kept(tmp_path) == [digest(1), digest(2)]


def test_a_full_disk_is_said_at_the_next_record(tmp_path: Path) -> None:
    script = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        try:
            for number in range(10_000):
                store.add(answered(number))
                time.sleep(0.0005)
        except ExecutionError as error:
            print(error.render())
        try:
            store.close()
        except ExecutionError as error:
            print("and at the end")
    """
    with child(tmp_path, script) as process:
        said = process.stdout.read() if process.stdout else ""
    (segment,) = segment_paths(tmp_path)
    assert "exchanges cannot be written: File too large" in said
    assert str(segment) in said
    assert "MiB to write, " in said
    assert "MiB free" in said
    assert "and at the end" in said
    with Store(tmp_path, session="next") as store:
        assert store.corrupt == 1  # the record at which the disk was full
        assert store.find(digest(0), 0) is not None


def test_segments_roll_and_sort_by_time(tmp_path: Path) -> None:
    with Writer(tmp_path, segment_bytes=1) as writer:
        for number in range(3):
            writer.append(entry(number))
            writer.flush()
    assert len(segment_paths(tmp_path)) == 3
    assert kept(tmp_path) == [digest(number) for number in range(3)]


def test_a_clock_that_was_set_back_does_not_change_the_order(tmp_path: Path) -> None:
    tomorrow = tmp_path / f"{time.time_ns() + 10**14:020d}-00000000.exchanges"
    tomorrow.touch()
    with Writer(tmp_path) as writer:
        writer.append(entry(1))
    assert segment_paths(tmp_path)[0] == tomorrow
    assert len(segment_paths(tmp_path)) == 2


def test_a_folder_that_vanishes_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "exchanges"
    folder.mkdir()
    writer = Writer(folder)
    folder.rmdir()
    writer.append(entry(1))
    with pytest.raises(ExecutionError, match="exchanges cannot be written: No such file"):
        writer.flush()
    with pytest.raises(ExecutionError, match="exchanges cannot be written"):
        writer.append(entry(2))
    with pytest.raises(ExecutionError, match="exchanges cannot be written"):
        writer.close()


def test_a_closed_writer_takes_nothing_more(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(ExecutionError, match="closed"):
        writer.append(entry(1))


def test_small_bodies_are_stored_as_they_are_and_large_ones_packed(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        writer.append(entry(1, b"short"))
        writer.append(entry(2, b"long " * 1000))
    content = segment_paths(tmp_path)[0].read_bytes()
    assert b"short" in content
    assert len(content) < 500


def test_who_is_too_far_ahead_of_the_disk_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_BACKLOG_BYTES", 1000)
    with Writer(tmp_path) as writer:
        writer.append(entry(1, b"few"))
        assert segment_paths(tmp_path) == []
        writer.append(entry(2, b"many" * 1000))
        assert kept(tmp_path) == [digest(1), digest(2)]
