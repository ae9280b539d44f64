"""Everything that can stand between the load and the endpoint, each started in its own way."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.proxies import peers
from benchmarks.proxies.processes import (
    START_TIMEOUT_S,
    BenchmarkError,
    Running,
    free_port,
    running,
    started,
)

ROUTE = "/v1/chat/completions"
TASK = "benchmark.task"
_SYSTEM_MESSAGE = {"system_message": "You are a careful assistant. Think first, then answer."}
_UPSTREAM_CONNECTIONS = 2048
_HAPROXY = """
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option http-no-delay  # else the parts of a streamed answer wait for one another
listen proxy
    bind 127.0.0.1:{port} backlog 4096
    server endpoint {address} maxconn 4096
"""

Chain = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A contender that runs, and where it takes chat requests."""

    process: Running
    url: str


@dataclass(frozen=True, kw_only=True)
class Contender:
    """`start` is told the endpoint's address (http://HOST:PORT) and a folder for what it writes."""

    name: str
    start: Callable[[str, Path], AbstractContextManager[Proxy]]


def raw(*, edits: bool = False) -> Contender:
    """Return the bare stack, which only passes on, or also parses and rewrites each request."""
    name = "ASGI + aiohttp, orjson edit" if edits else "ASGI + aiohttp, plain"
    return Contender(name=name, start=partial(_start_raw, ["--edit"] if edits else []))


def haproxy() -> Contender:
    """Return haproxy with one thread."""
    return Contender(name="haproxy", start=_start_haproxy)


def ours(name: str, chain: Chain) -> Contender:
    """Return our adapter with a chain of interceptors."""
    return Contender(name=f"evaldock, {name}", start=partial(start_ours, chain))


def nemo_0_3_0(name: str, chain: Callable[[str], Chain]) -> Contender:
    """Return NeMo Evaluator 0.3.0 with the chain that `chain` makes for a folder."""
    return Contender(name=f"NeMo Evaluator 0.3.0, {name}", start=partial(_start_nemo_0_3_0, chain))


def nemo_0_2_8(name: str, chain: Callable[[str], Chain]) -> Contender:
    """Return NeMo Evaluator 0.2.8 with the chain that `chain` makes for a folder."""
    return Contender(name=f"NeMo Evaluator 0.2.8, {name}", start=partial(_start_nemo_0_2_8, chain))


OUR_CHAIN: Chain = (
    {"name": "system_message", "config": _SYSTEM_MESSAGE},
    {"name": "caching"},
    {"name": "request_logging"},
    {"name": "reasoning"},
    {"name": "response_stats"},
)
OUR_CACHE: Chain = ({"name": "caching"},)


def nemo_0_3_0_chain(folder: str) -> Chain:
    """Return what is equivalent to our default chain; this order is the one that it accepts."""
    return (
        {"name": "system_message", "config": _SYSTEM_MESSAGE},
        {"name": "logging"},
        *nemo_0_3_0_cache(folder),
        {"name": "reasoning"},
        {"name": "response_stats"},
    )


def nemo_0_3_0_cache(folder: str) -> Chain:
    """Return its cache alone."""
    return ({"name": "caching", "config": {"cache_dir": f"{folder}/cache"}},)


def nemo_0_2_8_chain(folder: str) -> Chain:
    """Return what is equivalent to our default chain."""
    *cache, endpoint = nemo_0_2_8_cache(folder)
    return (
        {"name": "system_message", "config": _SYSTEM_MESSAGE},
        {"name": "request_logging"},
        *cache,
        endpoint,
        {"name": "response_stats", "config": {"cache_dir": f"{folder}/response_stats_cache"}},
        {"name": "reasoning", "config": {"cache_dir": f"{folder}/reasoning_stats_cache"}},
    )


def nemo_0_2_8_cache(folder: str) -> Chain:
    """Return its cache alone, as `use_caching` sets it up."""
    config = {"cache_dir": f"{folder}/cache", "reuse_cached_responses": True}
    return ({"name": "caching", "config": config}, {"name": "endpoint"})


def forwarding_0_2_8(_: str) -> Chain:
    """Return the chain that does nothing but pass on."""
    return ({"name": "endpoint"},)


def forwarding_0_3_0(_: str) -> Chain:
    """Return the chain that does nothing but pass on: the endpoint is always added."""
    return ()


@contextmanager
def start_ours(chain: Chain, endpoint: str, folder: Path) -> Iterator[Proxy]:
    """Start our adapter over a folder, which may hold what an earlier one stored."""
    folder.mkdir(exist_ok=True)
    status = folder / "status.json"
    status.unlink(missing_ok=True)
    settings = folder / "settings.json"
    settings.write_text(json.dumps(_our_settings(chain, endpoint, folder)))
    argv = [sys.executable, "-m", "evaldock_entrypoints.adapter.cli", "--settings", str(settings)]
    log = folder / "adapter.log"
    with started(argv, log=log) as process:
        deadline = time.monotonic() + START_TIMEOUT_S
        while (address := _address(status)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"our adapter does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.01)
        port = urlsplit(address).port or 0
        yield Proxy(
            process=Running(pid=process.pid, port=port), url=f"http://127.0.0.1:{port}/t/{TASK}{ROUTE}"
        )


def _our_settings(chain: Chain, endpoint: str, folder: Path) -> dict[str, object]:
    target = {
        "base_urls": [f"{endpoint}/v1"],
        "model_id": "m",
        "type": "chat",
        "identity": "benchmark",
        "interceptors": list(chain),
        "request_timeout_s": 60.0,
        "max_retries": 0,
    }
    task_folder = folder / "task"
    task_folder.mkdir(exist_ok=True)
    tasks = {TASK: {"target": target, "folder": str(task_folder)}}
    return {"tasks": tasks, "folder": str(folder), "listen": "127.0.0.1:0"}


def _address(status: Path) -> str | None:
    with suppress(FileNotFoundError, json.JSONDecodeError):
        address = json.loads(status.read_text()).get("address")
        return str(address) if address else None
    return None


@contextmanager
def _start_raw(arguments: Sequence[str], endpoint: str, folder: Path) -> Iterator[Proxy]:
    port = free_port()
    argv = [sys.executable, "-m", "benchmarks.proxies.raw", "--port", str(port), "--upstream", endpoint]
    with running([*argv, *arguments], port=port, log=_made(folder) / "log") as process:
        yield _proxy(process)


@contextmanager
def _start_haproxy(endpoint: str, folder: Path) -> Iterator[Proxy]:
    root, port = peers.debian_13(), free_port()
    settings = root / "opt" / f"haproxy-{port}.cfg"
    settings.write_text(_HAPROXY.format(port=port, address=urlsplit(endpoint).netloc))
    argv = [*peers.inside(root), "/usr/sbin/haproxy", "-db", "-f", f"/opt/{settings.name}"]
    try:
        with running(argv, port=port, log=_made(folder) / "log") as process:
            yield _proxy(process)
    finally:
        settings.unlink()


@contextmanager
def _start_nemo_0_3_0(chain: Callable[[str], Chain], endpoint: str, folder: Path) -> Iterator[Proxy]:
    port = free_port()
    settings = {
        "upstream_url": f"{endpoint}{ROUTE}",
        "model_id": "m",
        "port": port,
        "interceptor_specs": list(chain(str(peers.seen_inside(_made(folder))))),
        "max_concurrent_upstream": _UPSTREAM_CONNECTIONS,
    }
    with running(peers.nemo_0_3_0(json.dumps(settings)), port=port, log=folder / "log") as process:
        yield _proxy(process)


@contextmanager
def _start_nemo_0_2_8(chain: Callable[[str], Chain], endpoint: str, folder: Path) -> Iterator[Proxy]:
    port = free_port()
    files = str(_made(folder))
    settings = {"url": f"{endpoint}{ROUTE}", "folder": files, "interceptors": list(chain(files))}
    environment = {"ADAPTER_HOST": "127.0.0.1", "ADAPTER_PORT": str(port)}
    argv = peers.nemo_0_2_8(json.dumps(settings))
    with running(argv, port=port, log=folder / "log", environment=environment) as process:
        yield _proxy(process)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _proxy(process: Running) -> Proxy:
    return Proxy(process=process, url=f"http://127.0.0.1:{process.port}{ROUTE}")
