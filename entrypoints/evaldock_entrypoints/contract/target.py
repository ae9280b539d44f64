"""The `target` section: the endpoint under evaluation, further models, and the adapter between."""

from typing import Any

from pydantic import Field

from evaldock_entrypoints.contract.fields import Role, Strict, Switch, Whole
from evaldock_entrypoints.contract.framework import EndpointType


class Interceptor(Strict):
    """One step of the adapter's chain."""

    name: str = Field(min_length=1, description="built-in name, entry point, or module:Class")
    enabled: Switch = Field(default=True, description="false leaves it out")
    best_effort: Switch = Field(default=False, description="its failure does not fail the request")
    config: dict[str, Any] = Field(default_factory=dict, description="the interceptor's own settings")


class AdapterConfig(Strict):
    """The adapter's chain, as a list of interceptors or in NeMo's flat spelling."""

    interceptors: list[Interceptor] | None = Field(default=None, description="the chain, in order")
    post_eval_hooks: list[Interceptor] | None = Field(default=None, description="what runs after the task")
    discovery: dict[str, list[str]] = Field(
        default_factory=dict, description="where interceptors of your own are: {modules: [], dirs: []}"
    )
    use_system_prompt: Switch | None = Field(default=None, description="put custom_system_prompt first")
    custom_system_prompt: str | None = Field(default=None, description="the system message")
    use_caching: Switch | None = Field(default=None, description="answer from earlier exchanges")
    caching_dir: str | None = Field(default=None, description="where exchanges are kept")
    reuse_cached_responses: Switch | None = Field(default=None, description="also those of earlier runs")
    save_requests: Switch | None = Field(default=None, description="keep requests")
    save_responses: Switch | None = Field(default=None, description="keep responses")
    max_saved_requests: Whole | None = Field(default=None, ge=0, description="at most")
    max_saved_responses: Whole | None = Field(default=None, ge=0, description="at most")
    use_reasoning: Switch | None = Field(default=None, description="cut the reasoning off each answer")
    process_reasoning_traces: Switch | None = Field(default=None, description="older name of use_reasoning")
    start_reasoning_token: str | None = Field(default=None, description="where reasoning begins")
    end_reasoning_token: str | None = Field(default=None, description="where reasoning ends")
    include_if_reasoning_not_finished: Switch | None = Field(
        default=None, description="keep an answer whose reasoning does not end"
    )
    track_reasoning: Switch | None = Field(default=None, description="count reasoning tokens")
    use_request_logging: Switch | None = Field(default=None, description="log requests")
    use_response_logging: Switch | None = Field(default=None, description="log responses")
    max_logged_requests: Whole | None = Field(default=None, ge=0, description="at most")
    max_logged_responses: Whole | None = Field(default=None, ge=0, description="at most")
    log_failed_requests: Switch | None = Field(default=None, description="log those that failed")
    use_progress_tracking: Switch | None = Field(default=None, description="report progress")
    progress_tracking_url: str | None = Field(default=None, description="where progress goes")
    progress_tracking_interval: Whole | None = Field(default=None, ge=1, description="every so many samples")
    tracking_requests_stats: Switch | None = Field(default=None, description="latencies and tokens")
    use_raise_client_errors: Switch | None = Field(default=None, description="a 4xx ends the task")
    params_to_add: dict[str, Any] | None = Field(default=None, description="put into each request's body")
    params_to_remove: list[str] | None = Field(default=None, description="taken out of each request's body")
    params_to_rename: dict[str, str] | None = Field(default=None, description="renamed in each body")
    headers_to_remove: list[str] | None = Field(default=None, description="taken off each request")
    headers_to_rename: dict[str, str] | None = Field(default=None, description="renamed on each request")
    headers_to_add: dict[str, str] | None = Field(default=None, description="put on each request; no secrets")
    endpoint_type: str | None = Field(default=None, description="older name of api_endpoint.type")
    generate_html_report: Switch | None = Field(default=None, description="a page of request-response pairs")
    html_report_size: Whole | None = Field(default=None, ge=0, description="pairs on that page")


class ApiEndpoint(Strict):
    """An OpenAI-compatible endpoint."""

    url: str | None = Field(
        default=None,
        description="http(s)://HOST[:PORT]/v1, with or without the route; localhost is this host",
    )
    model_id: str | None = Field(default=None, description="the model's name there")
    type: EndpointType | None = Field(
        default=None, description="the route to use; default: the first that the task supports"
    )
    api_key_name: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="the NAME of the variable with the key"
    )
    stream: Switch | None = Field(default=None, description="ask for streamed answers")
    adapter_config: AdapterConfig | None = Field(default=None, description="what stands between")


class AuxiliaryEndpoint(ApiEndpoint):
    """A further model that a task needs, with its own parameters."""

    temperature: float | None = Field(default=None, ge=0, description="sampling temperature")
    top_p: float | None = Field(default=None, gt=0, le=1, description="nucleus")
    max_new_tokens: Whole | None = Field(default=None, ge=1, description="longest answer in tokens")
    parallelism: Whole | None = Field(default=None, ge=1, description="requests in flight")
    request_timeout: float | None = Field(default=None, gt=0, description="seconds one request may take")
    max_retries: Whole | None = Field(default=None, ge=0, description="attempts after the first one")


class Target(Strict):
    """What is evaluated."""

    api_endpoint: ApiEndpoint = Field(
        default_factory=ApiEndpoint, description="the model under evaluation; a deployment fills it in"
    )
    auxiliary: dict[Role, AuxiliaryEndpoint] = Field(
        default_factory=dict, description="further models by role: judge, user simulator, …"
    )
