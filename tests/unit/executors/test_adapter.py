"""The adapter beside a run: real processes on engine host, the adapter itself played by a script."""

import json
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kit.plans import plan_of
from tests.kit.toy import Silent

from evaldock.engines.host import HostEngine
from evaldock.executors import adapter as supervision
from evaldock.executors.adapter import AdapterWatch, Counts, spelt_settings
from evaldock.executors.folders import prepare_folders
from evaldock.executors.local import LocalExecutor
from evaldock.executors.outcome import TaskEnd
from evaldock.plan import Adapter, Evaluation, Plan, Unit
from evaldock.run_lock import lock_of
from evaldock.supply.environments import Environment
from evaldock_entrypoints.contract.errors import EvaldockError, ExecutionError, ExitCode
from evaldock_entrypoints.contract.layers import NOWHERE

PYTHON = str(Path(sys.executable).resolve())
ENDPOINT = {
    "url": "http://localhost:1/v1",
    "model_id": "m",
    "type": "completions",
    "api_key_name": "MY_KEY",
}
DOCUMENT = {
    "target": {"api_endpoint": ENDPOINT},
    "evaluation": {"tasks": ["gsm8k_cot", "arc_easy"]},
}
FIRST, SECOND = "lm-eval.gsm8k_cot", "lm-eval.arc_easy"

# What every script of an adapter begins with.
ADAPTER = """
import json, os, pathlib, signal, sys, time
settings = json.loads(pathlib.Path(sys.argv[sys.argv.index("--settings") + 1]).read_text())
folder = pathlib.Path(settings["folder"])
STATUS = {"ready": True, "waiting": False, "fatal": None, "tasks": {}}

def say(**more):
    draft = folder / "draft"
    draft.write_text(json.dumps(STATUS | more))
    draft.replace(folder / "status.json")

def flush(*_):
    time.sleep(0.3)
    (folder / "flushed").write_text(str(time.time()))
    sys.exit(0)

def until(name):
    while not (folder.parent / name).exists():
        time.sleep(0.02)

signal.signal(signal.SIGTERM, flush)
"""
# A harness that says it has begun, and ends with a complete result once it is told to, or of itself.
HARNESS = """
import os, pathlib, sys, time
results = pathlib.Path(sys.argv[1])
(results / "environment").write_text("\\n".join(f"{k}={v}" for k, v in os.environ.items()))
(results / "begun").touch()
deadline = time.monotonic() + float(sys.argv[2])
while time.monotonic() < deadline and not (results / "go").exists():
    time.sleep(0.02)
(results / "results.yml").write_text("status: complete\\n")
(results / "ended").write_text(str(time.time()))
"""
REFUSED = {"exit_code": 3, "message": "the endpoint refuses the key", "where": "401", "next": "set MY_KEY"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[HostEngine]:
    folders = {path: tmp_path / path.strip("/") for path in ("/opt/evaldock", "/opt/harness", "/opt/data")}
    folders["/opt/harness-files"] = tmp_path / "files"
    environment = Environment(name="toy", backend=None, input_hash="sha256:" + "a" * 64, folders=folders)
    with HostEngine("RUN", {"lm-eval": environment, "entrypoints": environment}) as made:
        yield made


class Seen(Silent):
    """Events that are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[Counts | None] = []

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        del evaluation, folder
        self.counts.append(counts)


def with_adapter(plan: Plan, script: str) -> Plan:
    assert plan.adapter is not None
    unit = plan.adapter.unit
    settings = unit.argv[1:]
    played = replace(unit, argv=(PYTHON, "-c", ADAPTER + textwrap.dedent(script), *settings))
    return replace(plan, adapter=Adapter(unit=played, settings=plan.adapter.settings))


def planned(run_dir: Path, script: str, *, harness: str = HARNESS, lasts_s: float = 0.0) -> Plan:
    """Return a plan of two tasks, its folders made; each harness lasts so long unless it is told to go."""

    def toy(evaluation: Evaluation) -> Evaluation:
        first, *_ = evaluation.units
        argv = (PYTHON, "-c", harness, "/results", str(lasts_s))
        return replace(evaluation, units=(replace(first, argv=argv),))

    plan = plan_of(DOCUMENT)
    assert plan.adapter is not None

    def moved(unit: Unit) -> Unit:
        mounts = tuple(
            replace(mount, source=mount.source.replace(plan.run_dir, str(run_dir))) for mount in unit.mounts
        )
        return replace(unit, mounts=mounts)

    evaluations = tuple(toy(each) for each in plan.evaluations)
    evaluations = tuple(replace(each, units=tuple(map(moved, each.units))) for each in evaluations)
    adapter = replace(plan.adapter, unit=moved(plan.adapter.unit))
    made = replace(plan, run_dir=str(run_dir), evaluations=evaluations, adapter=adapter)
    prepare_folders(made, NOWHERE)
    return with_adapter(made, script)


def run(plan: Plan, engine: HostEngine, events: Silent | None = None) -> list[TaskEnd]:
    seen = events or Silent()
    return LocalExecutor(plan=plan, engine=engine, events=seen, environ={"MY_KEY": "sk-canary"}).run()


def refused(plan: Plan, engine: HostEngine) -> tuple[EvaldockError, float]:
    """Return what a run is refused with, and the seconds from the adapter's word `at` to that."""
    with pytest.raises(EvaldockError) as caught:
        run(plan, engine)
    at = Path(plan.run_dir) / "at"
    return caught.value, time.time() - float(at.read_text()) if at.exists() else 0.0


@contextmanager
def watching(path: Path) -> Iterator[threading.Event]:
    """Set the event once the path exists."""
    found, over = threading.Event(), threading.Event()

    def look() -> None:
        while not path.exists() and not over.wait(0.01):
            pass
        found.set()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


# --- its life -----------------------------------------------------------------------------------------------


def test_the_adapter_listens_before_the_first_task_and_flushes_after_the_last(
    engine: HostEngine, tmp_path: Path
) -> None:
    script = """
        time.sleep(0.5)
        assert not list(folder.parent.glob("*/begun"))
        say()
        time.sleep(600)
    """
    ends = run(planned(tmp_path / "run", script), engine)
    assert [end.exit_code for end in ends] == [0, 0]
    flushed = float((tmp_path / "run" / "adapter" / "flushed").read_text())
    assert flushed > float((tmp_path / "run" / SECOND / "ended").read_text())


def test_the_adapter_alone_is_told_the_key_and_no_file_holds_it(engine: HostEngine, tmp_path: Path) -> None:
    script = """
        (folder / "key").write_text(os.environ["MY_KEY"].removeprefix("sk-"))
        say()
        time.sleep(600)
    """
    run(planned(tmp_path / "run", script), engine)
    assert (tmp_path / "run" / "adapter" / "key").read_text() == "canary"
    for folder in (FIRST, SECOND):
        assert "MY_KEY" not in (tmp_path / "run" / folder / "environment").read_text()
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(b"sk-canary" in path.read_bytes() for path in files)


def test_its_settings_name_the_places_of_this_machine(engine: HostEngine, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run(planned(run_dir, "say(); time.sleep(600)"), engine)
    settings = json.loads((run_dir / "adapter" / "settings.json").read_text())
    assert settings["folder"] == str(run_dir / "adapter")
    assert settings["tasks"][FIRST]["folder"] == str(run_dir / FIRST)
    assert settings["tasks"][FIRST]["target"]["base_urls"] == ["http://localhost:1/v1"]
    for task in (FIRST, SECOND):
        assert (run_dir / "adapter" / "socket" / task).stat().st_mode & 0o777 == 0o700


def test_paths_of_a_shared_store_are_spelt_too_and_texts_of_a_document_are_not() -> None:
    steps = [
        {"name": "system_message", "config": {"system_message": "/results is a path"}},
        {"name": "caching", "config": {"shared": "/answers"}},
    ]
    endpoint = {**ENDPOINT, "adapter_config": {"interceptors": steps}}
    plan = plan_of({**DOCUMENT, "target": {"api_endpoint": endpoint}})
    assert plan.adapter is not None
    spelt = spelt_settings(plan.adapter.settings, lambda text: f"here:{text}")
    message, caching, _ = spelt.tasks[FIRST].target.interceptors
    assert caching.config["shared"] == "here:/mnt/shared/0"
    assert message.config["system_message"] == "/results is a path"


@pytest.mark.slow
def test_an_adapter_that_does_not_come_up_is_named_with_its_last_lines(
    engine: HostEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "START_TIMEOUT_S", 0.5)
    plan = planned(tmp_path / "run", "print('cannot listen', flush=True); time.sleep(600)")
    (tmp_path / "run" / "adapter" / "status.json").write_text('{"ready": true}')  # of an earlier attempt
    error, _ = refused(plan, engine)
    assert error.message == "the adapter did not become ready within 0 s"
    assert "cannot listen" in (error.next_step or "")
    assert not (tmp_path / "run" / FIRST / "begun").exists()
    assert "cannot listen" in (tmp_path / "run" / "adapter.log").read_text()


@pytest.mark.slow
def test_an_adapter_that_ends_at_its_start_is_named_at_once(engine: HostEngine, tmp_path: Path) -> None:
    error, _ = refused(planned(tmp_path / "run", "sys.exit('no such module')"), engine)
    assert (error.exit_code, error.message) == (7, "the adapter ended by itself (exited with status 1)")
    assert "no such module" in (error.next_step or "")


# --- its end, and what it gives up --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_adapter_ends_the_run_within_seconds_and_resumably(
    engine: HostEngine, tmp_path: Path
) -> None:
    script = f"""
        say()
        until("{FIRST}/begun")
        (folder.parent / "at").write_text(str(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    plan = planned(tmp_path / "run", script, lasts_s=600)
    error, took_s = refused(plan, engine)
    assert isinstance(error, ExecutionError)
    assert error.message == "the adapter ended by itself (was killed by SIGKILL)"
    assert (error.next_step or "").startswith("evaldock resume RUN")
    assert took_s < 5
    assert "the adapter ended by itself" in (tmp_path / "run" / FIRST / "results.yml").read_text()
    assert not (tmp_path / "run" / SECOND / "begun").exists()
    assert not (tmp_path / "run" / FIRST / "ended").exists()


@pytest.mark.slow
def test_a_refused_key_ends_the_run_and_names_the_variable(engine: HostEngine, tmp_path: Path) -> None:
    script = f"""
        say()
        until("{FIRST}/begun")
        (folder.parent / "at").write_text(str(time.time()))
        say(fatal={REFUSED!r})
        time.sleep(600)
    """
    plan = planned(tmp_path / "run", script, lasts_s=600)
    error, took_s = refused(plan, engine)
    assert (error.exit_code, error.message) == (ExitCode.ENDPOINT, "the endpoint refuses the key")
    assert (error.where, error.next_step) == ("401", "set MY_KEY")
    assert took_s < 5
    assert not (tmp_path / "run" / SECOND / "begun").exists()


@pytest.mark.slow
def test_what_ended_a_harness_is_named_even_if_the_adapter_says_it_later(
    engine: HostEngine, tmp_path: Path
) -> None:
    script = f"""
        say()
        until("{FIRST}/begun")
        time.sleep(0.5)
        say(fatal={REFUSED!r})
        time.sleep(600)
    """
    dies = "import pathlib, sys; pathlib.Path(sys.argv[1], 'begun').touch(); sys.exit('401 Unauthorized')"
    error, _ = refused(planned(tmp_path / "run", script, harness=dies), engine)
    assert error.message == "the endpoint refuses the key"


@pytest.mark.slow
def test_a_task_that_the_adapter_stops_fails_and_the_others_go_on(engine: HostEngine, tmp_path: Path) -> None:
    fault = {"exit_code": 3, "message": "the endpoint answers 404", "where": "http://h", "next": "mend it"}
    tasks = {FIRST: {"requests": 1, "failed": 1, "stopped": fault}, SECOND: {"requests": 0, "stopped": None}}
    script = f"""
        say()
        until("{FIRST}/begun")
        say(tasks={tasks!r})
        until("{SECOND}/begun")
        (folder.parent / "{SECOND}" / "go").touch()
        time.sleep(600)
    """
    first, second = run(planned(tmp_path / "run", script, lasts_s=600), engine)
    assert (first.exit_code, first.results["error"]["message"]) == (3, "the endpoint answers 404")
    assert (second.exit_code, second.status) == (0, "complete")


@pytest.mark.parametrize(
    ("code", "meant"), [(0, ExitCode.EXECUTION), (99, ExitCode.EXECUTION), (75, ExitCode.INTERRUPTED)]
)
@pytest.mark.slow
def test_a_word_without_a_known_code_is_a_failure_all_the_same(code: int, meant: ExitCode) -> None:
    error = supervision.Fault(exit_code=code, message="a\x1b[31m\nb").as_error()
    assert error.exit_code is meant
    assert "\x1b" not in error.message
    assert "\n" not in error.message


# --- what it says -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_its_counts_are_shown_and_its_waiting_is_said(engine: HostEngine, tmp_path: Path) -> None:
    counts = {"requests": 5, "answered": 3, "cached": 1, "failed": 1, "retried": 2, "in_flight": 1}
    script = f"""
        say(waiting=True)
        until("{FIRST}/begun")
        time.sleep(0.6)
        say(tasks={{"{FIRST}": {{**{counts!r}, "stopped": None}}}})
        time.sleep(0.6)
        (folder.parent / "{FIRST}" / "go").touch()
        (folder.parent / "{SECOND}" / "go").touch()
        time.sleep(600)
    """
    seen = Seen()
    run(planned(tmp_path / "run", script, lasts_s=600), engine, seen)
    waited = [step for step in seen.steps if "endpoint" in step]
    assert waited == ["waiting for endpoint", "the endpoint answers"]
    assert Counts.model_validate(counts) in seen.counts
    assert seen.counts[0] is None


@pytest.mark.parametrize("kind", ["absent", "torn", "foreign", "link", "pipe"])
@pytest.mark.slow
def test_a_status_that_cannot_be_read_leaves_what_was_known(tmp_path: Path, kind: str) -> None:
    status = tmp_path / "status.json"
    watch = AdapterWatch(
        running=None,  # type: ignore[arg-type]
        status_path=status,
        step=lambda _: None,
        word="process",
        resume_step="",
    )
    status.write_text('{"ready": true, "more": [], "tasks": {"t": {"answered": 4}}}')
    assert watch.status().tasks["t"].answered == 4
    status.unlink()
    match kind:
        case "torn":
            status.write_text('{"ready": tr')
        case "foreign":
            status.write_text('{"ready": {}, "tasks": [1]}')
        case "link":
            status.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(status)
    assert watch.status().tasks["t"].answered == 4


# --- records ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "kept"), [("true", True), ("false", False), ("[]", None), (None, None)])
@pytest.mark.slow
def test_the_lock_records_chain_and_proven_seal_of_each_task(
    engine: HostEngine, tmp_path: Path, said: str | None, kept: bool | None
) -> None:
    plan = planned(tmp_path / "run", "")
    if said is not None:
        results = f"status: complete\nprovenance: {{network: {{wanted: auto, sealed: {said}}}}}\n"
        (tmp_path / "run" / FIRST / "results.yml").write_text(results)
    lock = lock_of(plan, engine, {})
    assert lock.tasks[FIRST].sealed is kept
    assert lock.tasks[SECOND].sealed is None
    assert [step.name for step in lock.tasks[FIRST].chain][:2] == ["caching", "endpoint"]
    assert "entrypoints" in lock.images


@pytest.mark.slow
def test_a_signal_stops_a_run_that_waits_for_its_adapter(engine: HostEngine, tmp_path: Path) -> None:
    plan = planned(tmp_path / "run", "(folder / 'up').touch(); time.sleep(600)")
    executor = LocalExecutor(plan=plan, engine=engine, events=Silent(), environ={"MY_KEY": "k"})
    with watching(tmp_path / "run" / "adapter" / "up") as up:

        def interrupt() -> None:
            up.wait()
            executor.interruption.requested.set()

        threading.Thread(target=interrupt).start()
        with pytest.raises(EvaldockError) as caught:
            executor.run()
    assert caught.value.exit_code is ExitCode.INTERRUPTED
