"""The adapter's process: from settings to a server that answers until it is told to stop."""

import asyncio
import contextlib
import datetime
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaldock_entrypoints.adapter.app import App
from evaldock_entrypoints.adapter.chain import Chain, Link
from evaldock_entrypoints.adapter.front import Front
from evaldock_entrypoints.adapter.interceptor import Context
from evaldock_entrypoints.adapter.lane import Lane
from evaldock_entrypoints.adapter.listeners import Listeners
from evaldock_entrypoints.adapter.records import Records
from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.registry import build
from evaldock_entrypoints.adapter.routes import Routes
from evaldock_entrypoints.adapter.status import StatusFile, error_tree
from evaldock_entrypoints.adapter.upstream import Upstream, connection_room, terms_of
from evaldock_entrypoints.contract.adapter import (
    EXCHANGES,
    SOCKET_NAME,
    STATUS_NAME,
    AdapterSettings,
    Served,
    TaskSettings,
    socket_folder,
)
from evaldock_entrypoints.contract.chain import caching_of, policy_of, streaming_of
from evaldock_entrypoints.contract.errors import EvaldockError, ExecutionError
from evaldock_entrypoints.contract.interceptors import EndpointPolicy
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.exchanges.replay import ReplayStore
from evaldock_entrypoints.exchanges.store import Store

DRAIN_S = 5.0
_FEWEST_CONNECTIONS = 4


@dataclass(kw_only=True)
class Adapter:
    """All that answers: one lane per task, one upstream per endpoint."""

    settings: AdapterSettings
    keys: Mapping[str, str] = field(repr=False)
    session: str
    lanes: dict[str, Lane] = field(default_factory=dict)
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    fronts: dict[str, dict[str | None, Front]] = field(default_factory=dict)
    fatal: EvaldockError | None = None

    async def open(self, stack: contextlib.AsyncExitStack) -> None:
        """Open stores, chains and pools; they close with the stack."""
        for name, task in self.settings.tasks.items():
            lane = self.lanes[name] = self._lane(name, task, stack)
            self.fronts[name] = {
                role: await self._front(lane, task, role, served, stack) for role, served in _models(task)
            }

    def stop_all(self, error: EvaldockError) -> None:
        """Ask nothing more for any task; the first reason stands."""
        self.fatal = self.fatal or error
        for lane in self.lanes.values():
            lane.stop(error)

    async def settle(self, task: str) -> dict[str, Any] | None:
        """Return what the task was stopped for, once its exchanges are on disk; raises ExecutionError."""
        lane = self.lanes[task]
        await asyncio.to_thread(lane.store.flush)
        return error_tree(lane.stopped)

    def status(self) -> dict[str, Any]:
        """Return what the status file says."""
        return {
            "ready": True,
            "waiting": any(upstream.is_waiting for upstream in self.upstreams.values()),
            "fatal": error_tree(self.fatal),
            "tasks": {
                name: {**lane.counts.as_tree(), "stopped": error_tree(lane.stopped)}
                for name, lane in self.lanes.items()
            },
        }

    def _lane(self, name: str, task: TaskSettings, stack: contextlib.AsyncExitStack) -> Lane:
        sys.path += [folder for folder in task.modules if folder not in sys.path]
        (Path(task.folder) / "logs").mkdir(parents=True, exist_ok=True)
        store = self._store(task)
        stack.enter_context(store)
        return Lane(task=name, store=store, stop_all=self.stop_all)

    def _store(self, task: TaskSettings) -> Store | ReplayStore:
        folder = Path(task.folder) / EXCHANGES
        if task.replayed:
            return ReplayStore(Path(task.replayed), session=self.session)
        anew = _asked_anew(task)
        return Store(
            folder,
            session=self.session,
            shared=_shared(task),
            reuse=len(anew) <= len(task.auxiliary),
            anew=anew,
        )

    async def _front(
        self,
        lane: Lane,
        task: TaskSettings,
        role: str | None,
        served: Served,
        stack: contextlib.AsyncExitStack,
    ) -> Front:
        policy = policy_of(served.interceptors)
        context = Context(task=lane.task, role=role, logs=Path(task.folder) / "logs", stop_task=lane.stop)
        links = [
            Link(name=one.name, interceptor=build(one, context), best_effort=one.best_effort)
            for one in served.interceptors
            if one.enabled
        ]
        chain = await stack.enter_async_context(Chain(links))
        mode = streaming_of(served.interceptors).mode
        return Front(
            lane=lane,
            records=Records(lane=lane, role=role, identity=served.identity),
            chain=chain,
            upstream=await self._upstream(served, policy, stack),
            terms=terms_of(
                policy, request_timeout_s=served.request_timeout_s, max_retries=served.max_retries
            ),
            key_name=served.api_key_name,
            asks_streamed=served.stream,
            passes_streams=mode == "pass" or (mode == "auto" and not chain.changes_answers),
            replays=self.settings.replay,
        )

    async def _upstream(
        self, served: Served, policy: EndpointPolicy, stack: contextlib.AsyncExitStack
    ) -> Upstream:
        """Return the pool of this endpoint: tasks that ask the same one in the same way share its limits."""
        identity = repr((served.base_urls, served.api_key_name, policy.model_dump_json()))
        if identity not in self.upstreams:
            upstream = Upstream(
                served.base_urls,
                policy=policy,
                api_key=self.keys.get(served.api_key_name or ""),
                redact=Redaction(list(self.keys.values())),
            )
            self.upstreams[identity] = await stack.enter_async_context(upstream)
        return self.upstreams[identity]


@contextlib.asynccontextmanager
async def running(settings: AdapterSettings, environ: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """Answer while the block runs; yields the status. Raises UsageError, ExecutionError."""
    adapter = Adapter(settings=settings, keys=_keys(settings, environ), session=_new_session())
    folder = Path(settings.folder)
    async with contextlib.AsyncExitStack() as stack:
        await adapter.open(stack)
        app = App(routes=Routes(fronts=adapter.fronts))
        listeners = Listeners(
            app=app,
            room=max(_FEWEST_CONNECTIONS, connection_room()),
            begin=lambda task: adapter.lanes[task].store.begin(),
            settle=adapter.settle,
        )
        app.is_crowded = listeners.is_crowded
        address = _listen(settings, folder, listeners)
        status = StatusFile(path=folder / STATUS_NAME, current=lambda: {**adapter.status(), **address})
        stack.push_async_callback(_write_last, status)
        stack.push_async_callback(listeners.close, DRAIN_S)
        status.write()
        keeper = asyncio.create_task(status.keep())
        stack.callback(keeper.cancel)
        yield status.current()


def _shared(task: TaskSettings) -> dict[str | None, Path]:
    """Return the folders of shared answers, by role; auxiliary models without one go by the target's."""
    found: dict[str | None, Path] = {}
    for role, model in _models(task):
        own = caching_of(model.interceptors).shared
        served = model if own else task.target
        if folder := own or caching_of(task.target.interceptors).shared:
            found[role] = Path(folder) / served.identity
    return found


def _asked_anew(task: TaskSettings) -> list[str | None]:
    """Return the roles whose stored answers are not given; where nothing is said, they go by the target's."""
    caching = [(role, caching_of(model.interceptors)) for role, model in _models(task)]
    _, target = caching[0]
    return [role for role, own in caching if not (own if own.model_fields_set else target).reuse]


def _models(task: TaskSettings) -> list[tuple[str | None, Served]]:
    return [(None, task.target), *task.auxiliary.items()]


async def _write_last(status: StatusFile) -> None:
    status.write()


def _listen(settings: AdapterSettings, folder: Path, listeners: Listeners) -> dict[str, Any]:
    try:
        for task in settings.tasks:
            (folder / socket_folder(task)).mkdir(mode=0o700, parents=True, exist_ok=True)
            listeners.take_over(folder / socket_folder(task) / SOCKET_NAME, task)
        if settings.listen is None:
            return {}
        host, _, port = settings.listen.rpartition(":")
        listener = socket.create_server((host.strip("[]"), int(port)), backlog=4096)
    except OSError as error:
        raise ExecutionError(
            f"the adapter cannot listen: {error}",
            where=settings.listen or str(folder),
            next_step="name another address, or see who may write to the run's folder",
        ) from error
    listeners.listen(listener, None)
    return {"address": f"http://{host}:{listener.getsockname()[1]}"}


def _keys(settings: AdapterSettings, environ: Mapping[str, str]) -> dict[str, str]:
    served = [model for task in settings.tasks.values() for model in (task.target, *task.auxiliary.values())]
    names = dict.fromkeys(model.api_key_name for model in served if model.api_key_name)
    found = {name: key_value(name, environ) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _new_session() -> str:
    """Return a name for this life of the adapter that sorts by time."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(3)}"
