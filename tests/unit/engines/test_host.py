"""Engine host with real processes."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kit.plans import plan_of

from evaldock.engines import host_leftovers
from evaldock.engines.host import HostEngine, HostProcess, cautions, refuse_model_code
from evaldock.engines.host_environment import seen_gpus, visible_gpus
from evaldock.executors import local
from evaldock.executors.adapter import Counts
from evaldock.executors.local import LocalExecutor
from evaldock.executors.outcome import TaskEnd
from evaldock.pins import ImagePin
from evaldock.plan import Evaluation, Limits, Mount, Unit
from evaldock.run_lock import lock_of
from evaldock.supply.environments import Environment
from evaldock_entrypoints.contract.errors import ExecutionError, InterruptedRunError, UsageError
from evaldock_entrypoints.contract.fields import Gpus

PIN = ImagePin(name="toy", version="1", reference="toy:1", digest=None, image_id=None, origin="missing")
# Not the virtual environment's: a checkout may lie below /tmp, which is another folder for a unit.
PYTHON = Path(sys.executable).resolve()
HASH = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    folders = {path: tmp_path / path.strip("/") for path in ("/opt/evaldock", "/opt/harness", "/opt/data")}
    folders["/opt/harness-files"] = tmp_path / "files"
    return Environment(name="toy", backend=None, input_hash=HASH, folders=folders)


@pytest.fixture
def engine(environment: Environment) -> Iterator[HostEngine]:
    with HostEngine("RUN", {"toy": environment}) as made:
        yield made


def unit(script: str, *argv: str, **fields: object) -> Unit:
    """Return a unit that runs a Python script."""
    made = Unit(
        name="toy.sums-ask",
        role="evaluation",
        image=PIN,
        argv=(str(PYTHON), "-c", textwrap.dedent(script), *argv),
        network="none",
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def started(engine: HostEngine, wanted: Unit, **secrets: str) -> HostProcess:
    return engine.create(wanted, user="0:0", network=None, alias=None, secrets=secrets)


def output(engine: HostEngine, wanted: Unit, **secrets: str) -> list[str]:
    """Run a unit to its end and return its lines."""
    with started(engine, wanted, **secrets) as running:
        assert running.ended.wait(30)
        assert running.exit().code == 0, running.last_lines()
        return list(running.last_lines(1000))


def eventually(holds: Callable[[], bool], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- what a unit gets ---------------------------------------------------------------------------------------

PRINT_ENVIRONMENT = "import os\nfor name in sorted(os.environ): print(f'{name}={os.environ[name]}')"


def test_a_unit_sees_its_own_variables_and_none_of_the_callers(
    engine: HostEngine, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLERS_OWN", "private")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    monkeypatch.setenv("LD_PRELOAD", "")
    settings = {"EVALDOCK_IMAGE_ORIGIN": "missing", "EVALDOCK_IMAGE_DIGEST": "", "SOME_DIR": "/opt/data/x"}
    lines = output(engine, unit(PRINT_ENVIRONMENT, settings=settings), THE_KEY="secret")
    seen = dict(line.split("=", 1) for line in lines)
    seen.pop("LC_CTYPE", None)  # set by Python itself
    assert set(seen) == {
        *("CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PYTHONDONTWRITEBYTECODE"),
        *("EVALDOCK_DATA_DIR", "EVALDOCK_HARNESS_DIR", "EVALDOCK_HARNESS_PREFIX"),
        *("EVALDOCK_IMAGE_ID", "EVALDOCK_IMAGE_ORIGIN"),
        *("SOME_DIR", "THE_KEY", "TMPDIR", "TZ", "USER"),
    }
    assert (seen["TZ"], seen["LANG"], seen["THE_KEY"]) == ("UTC", "C.UTF-8", "secret")
    assert seen["SOME_DIR"] == f"{environment.folders['/opt/data']}/x"
    assert seen["PATH"].startswith(f"{environment.folders['/opt/harness']}/bin:/usr/")
    assert seen["HOME"] == seen["TMPDIR"]


def test_results_record_what_the_environment_was_made_from(engine: HostEngine) -> None:
    settings = {"EVALDOCK_IMAGE_ORIGIN": "missing", "EVALDOCK_IMAGE_DIGEST": "", "EVALDOCK_IMAGE_ID": ""}
    lines = output(engine, unit(PRINT_ENVIRONMENT, settings=settings))
    assert f"EVALDOCK_IMAGE_ID={HASH}" in lines
    assert "EVALDOCK_IMAGE_ORIGIN=host environment" in lines
    assert not any(line.startswith("EVALDOCK_IMAGE_DIGEST") for line in lines)


def test_a_mount_hides_what_the_environment_has_in_its_place(engine: HostEngine, tmp_path: Path) -> None:
    mounts = (Mount(source=str(tmp_path / "mine"), target="/opt/data"),)
    lines = output(engine, unit(PRINT_ENVIRONMENT, mounts=mounts))
    assert f"EVALDOCK_DATA_DIR={tmp_path}/mine" in lines


def test_scratch_is_a_private_folder_that_goes_with_the_run(environment: Environment) -> None:
    with HostEngine("RUN", {"toy": environment}) as engine:
        script = "import pathlib, sys; pathlib.Path(sys.argv[1]).mkdir(); print(sys.argv[1])"
        (path,) = output(engine, unit(script, "/tmp/evaldock"))
        assert Path(path).is_dir()
        assert Path(path).parents[2].stat().st_mode & 0o777 == 0o700
    assert not Path(path).parents[2].exists()


def test_limits_that_a_process_has_by_itself_hold(engine: HostEngine) -> None:
    script = """
        import os, resource
        for name in ("CORE", "NOFILE", "FSIZE"):
            print(*resource.getrlimit(getattr(resource, f"RLIMIT_{name}")))
        try:
            with open(os.environ["HOME"] + "/large", "wb", buffering=0) as file:
                for _ in range(3): file.write(bytes(4096))
        except OSError as error:
            print(error.strerror)
    """
    limits = Limits(open_files=99, file_size_bytes=6000, memory="1m")
    assert output(engine, unit(script, limits=limits)) == ["0 0", "99 99", "6000 6000", "File too large"]


@pytest.mark.parametrize(
    ("gpus", "caller", "shown"),
    [
        ("all", None, None),
        ("all", "2,3", "2,3"),
        ("none", "2,3", ""),
        (0, None, ""),
        (2, None, "0,1"),
        (1, "2,3", "2"),
        ([0, 3], "2,3", "0,3"),
    ],
)
def test_gpus_are_shown_to_cuda_by_number(gpus: Gpus, caller: str | None, shown: str | None) -> None:
    environ = {} if caller is None else {"CUDA_VISIBLE_DEVICES": caller}
    assert visible_gpus(gpus, environ).get("CUDA_VISIBLE_DEVICES") == shown


def test_more_gpus_than_there_are_is_an_error() -> None:
    two = ("GPU 0: Model (UUID: GPU-aa)", "GPU 1: Model (UUID: GPU-bb)")
    wanted = unit("", gpus=2)
    assert seen_gpus(wanted, "0,1", two) == two
    assert seen_gpus(replace(wanted, gpus="all"), None, two) == two
    assert seen_gpus(replace(wanted, gpus="all"), "GPU-bb", two) == two[1:]
    with pytest.raises(ExecutionError, match="asked for 2 GPUs, and 1"):
        seen_gpus(wanted, "1,2", two)
    with pytest.raises(UsageError, match="may use 1"):
        visible_gpus(2, {"CUDA_VISIBLE_DEVICES": "5"})


# --- how it ends --------------------------------------------------------------------------------------------


def test_exit_codes_are_those_of_containers(engine: HostEngine) -> None:
    for script, code in (("raise SystemExit(5)", 5), ("import os; os.kill(os.getpid(), 11)", 139)):
        with started(engine, unit(script)) as running:
            assert running.ended.wait(30)
            assert running.exit().code == code


def test_a_program_that_is_not_there_is_named(engine: HostEngine) -> None:
    with started(engine, unit("", argv=("no-such-program", "x"))) as running:
        assert running.ended.wait(30)
        end = running.exit()
    assert (end.code, end.last_lines) == (127, ("cannot start no-such-program: No such file or directory",))


# A child that leaves the session, forgets its environment and ignores TERM: nothing but the tree knows it.
RUNAWAY = """
    import os, signal, subprocess, sys, time
    child = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    if len(sys.argv) > 1:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    argv = [sys.executable, "-c", child]
    made = subprocess.Popen(argv, env={}, start_new_session=True, stdout=subprocess.PIPE)
    made.stdout.readline()
    print(made.pid, os.getpid(), flush=True)
    time.sleep(600)
"""


def pids_of(running: HostProcess) -> list[int]:
    assert eventually(lambda: len(running.last_lines()) == 1), running.last_lines()
    return [int(pid) for pid in running.last_lines()[0].split()]


def test_stopping_ends_detached_grandchildren_too(engine: HostEngine) -> None:
    with started(engine, unit(RUNAWAY)) as running:
        pids = pids_of(running)
        assert all(map(is_alive, pids))
        running.stop()
        assert running.exit().code == 128 + signal.SIGTERM
        assert not any(map(is_alive, pids))


def test_what_ignores_term_is_killed_after_the_grace(engine: HostEngine) -> None:
    with started(engine, unit(RUNAWAY, "deaf")) as running:
        pids = pids_of(running)
        running.stop(grace_s=1)
        assert running.exit().code == 128 + signal.SIGKILL
        assert not running.exit().out_of_memory
    assert not any(map(is_alive, pids))


def test_an_end_by_itself_takes_the_grandchildren_along(engine: HostEngine) -> None:
    script = RUNAWAY.rstrip().removesuffix("time.sleep(600)")
    with started(engine, unit(script)) as running:
        assert running.ended.wait(30)
        (child, _) = pids_of(running)
        assert running.exit().code == 0
        assert not is_alive(child)


def test_leaving_the_block_ends_everything(engine: HostEngine) -> None:
    with started(engine, unit(RUNAWAY, "deaf")) as running:
        pids = pids_of(running)
    assert not any(map(is_alive, pids))
    assert running.ended.is_set()


def test_killing_the_keeper_leaves_nothing(engine: HostEngine) -> None:
    script = RUNAWAY.replace("env={}", "env=None")
    with started(engine, unit(script)) as running:
        child, program = pids_of(running)
        keeper = int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(keeper, signal.SIGKILL)
        assert running.ended.wait(10)
        assert running.exit().code == 128 + signal.SIGKILL
    assert not is_alive(program)
    assert not is_alive(child)


OWNER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.engines import test_host as kit
from evaldock.engines.host import HostEngine
from evaldock.supply.environments import Environment
environment = Environment(name="toy", backend=None, input_hash="", folders={{p: Path("/none") for p in
    ("/opt/evaldock", "/opt/harness", "/opt/data", "/opt/harness-files")}})
with HostEngine("KILLED", {{"toy": environment}}) as engine:
    with kit.started(engine, kit.unit(kit.RUNAWAY, "deaf")) as running:
        print(*kit.pids_of(running), engine._workplace.folder, flush=True)
        time.sleep(600)
"""


def test_a_killed_run_ends_its_processes_and_the_next_one_removes_its_folder(engine: HostEngine) -> None:
    root = str(Path(__file__).parents[3])
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(root=root)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout:
        *pids, folder = owner.stdout.readline().split()
    assert engine.sweep() == []  # it lives
    assert Path(folder).is_dir()
    owner.kill()
    owner.wait()
    assert eventually(lambda: not any(is_alive(int(pid)) for pid in pids))
    assert engine.sweep() == ["the processes of KILLED"]
    assert not Path(folder).exists()
    assert engine.sweep() == []


def test_a_sweep_ends_processes_of_a_dead_run_whose_keeper_is_gone_too(tmp_path: Path) -> None:
    workplace = host_leftovers.open_workplace("DEAD")
    stray = subprocess.Popen(["sleep", "600"], env={"TMPDIR": f"{workplace.folder}/toy/tmp"})
    other = subprocess.Popen(["sleep", "600"], env={"TMPDIR": f"{workplace.folder}-other/tmp"})
    try:
        assert host_leftovers.sweep() == []
        note = workplace.note.read_text(encoding="utf-8")
        workplace.note.write_text(note.replace(f":{os.getpid()}:", ":4194304:"), encoding="utf-8")
        assert host_leftovers.sweep() == ["the processes of DEAD"]
        assert stray.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        stray.kill()
        other.kill()
        stray.wait()
        other.wait()
    del tmp_path


# --- its output ---------------------------------------------------------------------------------------------


def test_the_log_is_kept_whole_and_its_last_lines_are_told(engine: HostEngine, tmp_path: Path) -> None:
    script = "import sys\nfor i in range(100): print(i)\nprint('é', file=sys.stderr)"
    with started(engine, unit(script)) as running:
        assert running.ended.wait(30)
        assert running.last_lines(3)[:2] == ("98", "99") or running.last_lines(3)[-1] == "99"
        running.save_log(tmp_path / "log")
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted([*(str(i) for i in range(100)), "é"])


def test_endless_lines_are_cut_and_endless_output_keeps_its_end(
    engine: HostEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaldock.engines.host._LOG_BYTES", 400_000)
    script = """
        import sys
        for i in range(100_000): print(i, "y" * 20)
        print("x" * 40_000)
        print("the end")
    """
    with started(engine, unit(script)) as running:
        assert running.ended.wait(60)
        running.save_log(tmp_path / "log")
        assert running.last_lines(1) == ("the end",)
    log = (tmp_path / "log").read_text()
    assert 150_000 < len(log) <= 400_000
    assert max(map(len, log.splitlines())) <= 16 * 1024
    assert f"99999 {'y' * 20}\n{'x' * 16 * 1024}\nthe end\n" in log


# --- the server ---------------------------------------------------------------------------------------------


def server(script: str, port: int) -> Unit:
    return unit(script, "--port", str(port), name="server", role="server", network="run")


def test_a_server_is_told_to_listen_on_loopback_only(engine: HostEngine) -> None:
    lines = output(engine, server("import sys; print(*sys.argv[1:])", _free_port()))
    assert lines[0].endswith("--host 127.0.0.1")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_named_before_anything_starts(engine: HostEngine, address: str) -> None:
    with socket.socket() as taken:
        taken.bind((address, 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = started(engine, server("", port))
        with pytest.raises(ExecutionError, match=f"cannot listen on port {port}"), running:
            pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- what it refuses and says -------------------------------------------------------------------------------

CODE_TASK = {
    "target": {"api_endpoint": {"url": "http://localhost:1/v1", "model_id": "m", "type": "completions"}},
    "evaluation": {"tasks": ["humaneval"]},
}


def test_code_of_a_model_is_refused_unless_the_document_asks_for_it() -> None:
    plan = plan_of(CODE_TASK)
    with pytest.raises(UsageError, match="code that the model wrote"):
        refuse_model_code(plan, allowed=False)
    refuse_model_code(plan, allowed=True)


def test_it_says_what_it_does_not_do() -> None:
    isolation, limits = cautions(plan_of(CODE_TASK))
    assert isolation == "no isolation: harness and server run as ordinary processes of this user"
    assert "read-only mounts, memory limits" in limits


def test_the_lock_records_the_environment_that_was_run_whatever_the_checkout_holds_by_then(
    engine: HostEngine,
) -> None:
    made = plan_of(CODE_TASK)
    (evaluation,) = made.evaluations
    ran = replace(made, adapter=None, evaluations=(replace(evaluation, units=(unit("pass"),)),))
    pin = lock_of(ran, engine, {}).images["toy"]
    assert (pin.image_id, pin.digest, pin.origin) == (HASH, None, "host environment")


class Silent:
    """Shows nothing of a run."""

    def step(self, text: str) -> None: ...
    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None: ...
    def ended(self, evaluation: Evaluation, end: TaskEnd) -> None: ...


def test_what_ends_without_a_word_is_called_a_process(engine: HostEngine, tmp_path: Path) -> None:
    made = plan_of(CODE_TASK)
    evaluation = replace(made.evaluations[0], units=(unit("raise SystemExit(9)"),))
    plan = replace(made, adapter=None, evaluations=(evaluation,), run_dir=str(tmp_path))
    (tmp_path / evaluation.folder).mkdir()
    (end,) = LocalExecutor(plan=plan, engine=engine, events=Silent(), environ={}).run()
    error = end.results["error"]
    assert (end.exit_code, error["message"]) == (7, "the evaluation process exited with status 9")
    assert "container" not in error["where"]


def test_a_run_stops_at_its_time_limit_however_many_units_it_has(
    engine: HostEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "STOP_ITSELF_S", 0.0)
    made = plan_of(CODE_TASK)
    naps = tuple(replace(unit("import time; time.sleep(0.7)"), name=f"nap-{number}") for number in range(9))
    evaluation = replace(made.evaluations[0], units=naps)
    plan = replace(made, adapter=None, evaluations=(evaluation,), run_dir=str(tmp_path), time_limit_s=1)
    (tmp_path / evaluation.folder).mkdir()
    with pytest.raises(InterruptedRunError, match="the time limit is reached") as caught:
        LocalExecutor(plan=plan, engine=engine, events=Silent(), environ={}).run()
    assert caught.value.next_step == "evaldock resume RUN"
    logs = sorted(path.name for path in (tmp_path / evaluation.folder / "logs").iterdir())
    assert logs == ["container-nap-0.log", "container-nap-1.log"]
