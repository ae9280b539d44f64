"""The adapter as a process of its own, before any endpoint, without a container."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from evaldock_entrypoints.adapter.client import EVENT_STREAM
from evaldock_entrypoints.contract.adapter import (
    EXCHANGES,
    SOCKET_NAME,
    AdapterSettings,
    Served,
    TaskSettings,
    socket_folder,
)
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.target import Interceptor
from evaldock_entrypoints.exchanges.traffic import SessionTraffic, read_traffic

TASK = "toy.sums"


@dataclass(frozen=True, kw_only=True)
class RunningAdapter:
    """An adapter that answers. folder: where its tasks' folders are."""

    address: str
    folder: Path
    process: "subprocess.Popen[bytes]"

    def base_url(self, task: str = TASK) -> str:
        return f"{self.address}/t/{task}/v1"

    def post(
        self,
        body: Mapping[str, Any] | bytes,
        route: str = "/chat/completions",
        *,
        task: str = TASK,
        **more: Any,
    ) -> requests.Response:
        """Ask once, as a harness does."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        return requests.post(
            f"{self.base_url(task)}{route}", data=raw, headers=headers, **{"timeout": 30, **more}
        )

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "adapter" / "status.json").read_bytes())
        return found

    def exchanges(self, task: str = TASK) -> Path:
        return self.folder / task / EXCHANGES

    def control(self, task: str = TASK) -> Path:
        """Where this task's harness hands over the socket it listens on."""
        return self.folder / "adapter" / socket_folder(task) / SOCKET_NAME

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def traffic(self, task: str = TASK) -> SessionTraffic:
        """What its stores tell; only after it has ended."""
        found = read_traffic(self.exchanges(task))
        assert found is not None
        return found


def chat(text: str = "What is 1 + 1?", **more: Any) -> dict[str, Any]:
    """Return the body of a chat request."""
    return {"model": "fake-model", "messages": [{"role": "user", "content": text}], "max_tokens": 64, **more}


def streamed(answer: requests.Response) -> list[str]:
    """Return the data of a streamed answer's events."""
    assert answer.headers["content-type"].startswith(EVENT_STREAM)
    lines = answer.content.decode().splitlines()
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def settings_for(
    folder: Path,
    urls: Sequence[str],
    *,
    interceptors: Sequence[Mapping[str, Any]] = (),
    tasks: Sequence[str] = (TASK,),
    key_name: str | None = None,
    endpoint_type: EndpointType = "chat",
    **more: Any,
) -> AdapterSettings:
    """Return settings before endpoints at these addresses (without /v1)."""
    served = {"request_timeout_s": 10.0, "max_retries": 2, "stream": False, **more.pop("served", {})}
    target = Served(
        base_urls=[f"{url}/v1" for url in urls],
        model_id="fake-model",
        type=endpoint_type,
        api_key_name=key_name,
        identity="fake",
        interceptors=[Interceptor.model_validate(one) for one in interceptors],
        **served,
    )
    return AdapterSettings(
        tasks={
            task: TaskSettings(target=target, folder=str(folder / task), **more.pop("task", {}))
            for task in tasks
        },
        folder=str(folder / "adapter"),
        listen="127.0.0.1:0",
        **more,
    )


@contextmanager
def running_adapter(
    settings: AdapterSettings, env: Mapping[str, str] | None = None, *, prefix: Sequence[str] = ()
) -> Iterator[RunningAdapter]:
    """Run an adapter in a child process until the block ends. prefix: a command to run it by."""
    folder = Path(settings.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(settings.model_dump_json(), encoding="utf-8")
    argv = ["-m", "evaldock_entrypoints.adapter.cli", "--settings", str(folder / "settings.json")]
    process = subprocess.Popen(
        [*prefix, sys.executable, *argv, "--until_stdin_ends"],
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        try:
            address = json.loads(process.stdout.readline())["address"]
            yield RunningAdapter(address=address, folder=folder.parent, process=process)
        finally:
            process.terminate()
