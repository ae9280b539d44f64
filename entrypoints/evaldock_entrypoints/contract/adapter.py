"""What an adapter is told: which endpoints it stands before, for which tasks, through which chain."""

import hashlib
from pathlib import PurePosixPath

from pydantic import Field

from evaldock_entrypoints.contract.fields import Strict, Switch, Whole
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.target import Interceptor

SOCKET_NAME = "adapter.sock"
STATUS_NAME = "status.json"
EXCHANGES = "exchanges"
PROBE_HEADER = "x-evaldock-probe"  # a question about the endpoint, not one of the task


class Served(Strict):
    """A model that the adapter stands before."""

    base_urls: list[str] = Field(min_length=1, description="each up to and with /v1; replicas of one model")
    model_id: str = Field(description="as the endpoint knows it")
    type: EndpointType = Field(description="which route the harness uses")
    api_key_name: str | None = Field(default=None, description="the NAME of the variable with the key")
    identity: str = Field(description="what tells one model from another in a store that runs share")
    interceptors: list[Interceptor] = Field(description="the whole chain, in order")
    request_timeout_s: float = Field(gt=0, description="of one attempt")
    max_retries: Whole = Field(ge=0, description="attempts after the first")
    stream: Switch = Field(default=False, description="ask for streamed answers, hand them over whole")


class TaskSettings(Strict):
    """One task: its model, further models by role, and its folder."""

    target: Served = Field(description="the model under evaluation")
    auxiliary: dict[str, Served] = Field(default_factory=dict, description="judge, user simulator, …")
    folder: str = Field(description="the task's own: exchanges/ and logs/ go there")
    replayed: str | None = Field(
        default=None, description="answer from this folder of exchanges and note nothing"
    )
    modules: list[str] = Field(default_factory=list, description="folders of interceptors of the user's own")


class AdapterSettings(Strict):
    """The adapter's settings file."""

    tasks: dict[str, TaskSettings] = Field(description="by harness.task")
    folder: str = Field(description="the adapter's own: its sockets, its status and its log")
    listen: str | None = Field(default=None, description="HOST:PORT to listen on besides; port 0: a free one")
    replay: Switch = Field(default=False, description="answer from the store alone; a miss is an error")


def socket_folder(task: str) -> PurePosixPath:
    """Return where, below the adapter's own folder, the socket is that this task's harness may reach."""
    return PurePosixPath("socket", task)


def identity_of(*facts: str) -> str:
    """Return what names a model in a store that runs share: the same for the same facts alone."""
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]
