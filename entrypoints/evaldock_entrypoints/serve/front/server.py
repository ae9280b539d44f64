"""Runs the front on uvicorn until a signal comes or the engine dies."""

import asyncio
import logging
import os
import signal
import sys

import uvicorn

from evaldock_entrypoints.serve.front.app import App
from evaldock_entrypoints.serve.front.generation import Service
from evaldock_entrypoints.serve.front.metrics import Metrics
from evaldock_entrypoints.serve.front.protocol import Engine

# How long requests in flight may still be answered after a signal or the engine's death.
GRACE_S = 1
DEFAULT_QUEUE_BOUND = 1024

logger = logging.getLogger("evaldock.serve")


def serve(engine: Engine, *, host: str, port: int, queue_bound: int = DEFAULT_QUEUE_BOUND) -> int:
    """Serve until stopped; return 0 after SIGTERM or SIGINT, 1 after the engine's death or a failed start."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn puts this handler back and raises the signal again once it has shut down
        signal.signal(number, lambda *_: None)
    app = App(Service(engine=engine, metrics=Metrics(), queue_bound=queue_bound))
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        backlog=4096,
    )
    try:
        return asyncio.run(_serve(engine, uvicorn.Server(config)))
    except SystemExit:
        # uvicorn has said why it cannot listen; its exit code 3 means something else in the contract
        return 1


def leave(code: int) -> None:
    """End the process at once: the engine's thread may sit in a long computation."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(engine: Engine, server: uvicorn.Server) -> int:
    watch = asyncio.create_task(_stop_when_dead(engine, server))
    try:
        await server.serve()
    finally:
        watch.cancel()
    died = watch.done() and not watch.cancelled()
    return 1 if died or not server.started else 0


async def _stop_when_dead(engine: Engine, server: uvicorn.Server) -> None:
    reason = await engine.died()
    logger.error("the engine died: %s; the server stops", reason)
    await asyncio.sleep(GRACE_S / 2)
    server.should_exit = True
