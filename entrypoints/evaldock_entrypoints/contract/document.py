"""The whole YAML document `evaldock/v1` (contract, section 1)."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from evaldock_entrypoints.contract.deployment import Deployment
from evaldock_entrypoints.contract.execution import Execution
from evaldock_entrypoints.contract.fields import Gpus, Strict, Switch
from evaldock_entrypoints.contract.params import Params
from evaldock_entrypoints.contract.target import Target

Exporter = Literal["junit", "csv", "parquet", "mlflow", "wandb", "inspect"]
_Named = Annotated[str, Field(min_length=1)]


class TaskRequest(Strict):
    """One task as the user asked for it; a bare string is its name."""

    name: str = Field(min_length=1, description="`task`, or `harness.task`")
    params: Params = Field(default_factory=Params, description="this task's own, above evaluation.params")
    image: str | None = Field(
        default=None, description="an image other than the one that the catalogue pins for the harness"
    )


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _list(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f'"{value}" is no list; give a list, also of one task: ["{value}"]')
    return value


class Evaluation(Strict):
    """The tasks of a run."""

    tasks: Annotated[
        list[Annotated[TaskRequest, BeforeValidator(_named, json_schema_input_type=_Named | TaskRequest)]],
        BeforeValidator(_list),
    ] = Field(default_factory=list, description="names, or objects with a name and params")
    params: Params = Field(default_factory=Params, description="for every task, below the task's own")
    gpus: Gpus | None = Field(
        default=None, description="the harness's share of execution.gpus; default: none"
    )


class Data(Strict):
    """Benchmark data that is not in the image."""

    path: str | None = Field(default=None, description="folder of benchmark data, mounted into the harness")
    hf_endpoint: str | None = Field(default=None, description="address of a hub to fetch data from")
    hf_token_name: str = Field(
        default="HF_TOKEN",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="the NAME of the variable with the hub's token",
    )
    offline: Switch = Field(default=False, description="never fetch; what is not at hand is an error")


class Output(Strict):
    """Where results go."""

    dir: str = Field(default="results", min_length=1, description="each run gets a folder of its own in it")


class Document(Strict):
    """The whole document."""

    deployment: Deployment = Field(default_factory=Deployment, description="who serves the model")
    target: Target = Field(default_factory=Target, description="the endpoint, where one is up already")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="the tasks")
    data: Data = Field(default_factory=Data, description="benchmark data that is not in the image")
    execution: Execution = Field(default_factory=Execution, description="where the containers run")
    output: Output = Field(default_factory=Output, description="where results go")
    export: list[Exporter] = Field(default_factory=list, description="further formats for the results")

    def served_model_name(self) -> str | None:
        """Return served_model_name, else target.api_endpoint.model_id, else the last part of model_path."""
        path = self.deployment.model_path
        return (
            self.deployment.served_model_name
            or self.target.api_endpoint.model_id
            or (path.rstrip("/").rsplit("/", 1)[-1] if path else None)
        )
