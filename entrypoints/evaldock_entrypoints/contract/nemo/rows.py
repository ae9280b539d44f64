"""What becomes of each NeMo key that needs no code of its own; docs/nemo.md shows the same table."""

from dataclasses import dataclass

TASK = "evaluation.tasks.*"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A key that has another name here."""

    key: str
    to: str


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A key without a meaning here: it leads to a note."""

    key: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A key that cannot be dropped, because that would change scores or hide a hazard."""

    key: str
    why: str
    next_step: str


MOVED = (
    Moved(key="execution.output_dir", to="output.dir"),
    Moved(key="execution.num_instances", to="deployment.replicas"),
    Moved(key="execution.endpoint_readiness_timeout", to="deployment.readiness_timeout"),
    Moved(key="execution.sbatch_extra_flags.qos", to="execution.qos"),
    Moved(key="execution.evaluation_tasks.resource_shape", to="execution.resource_shape"),
    Moved(key="execution.lepton_platform.tasks.node_group", to="execution.node_group"),
    Moved(
        key="execution.lepton_platform.deployment.endpoint_readiness_timeout",
        to="deployment.readiness_timeout",
    ),
    Moved(key="deployment.num_instances", to="deployment.replicas"),
    Moved(key="deployment.lepton_config.resource_shape", to="deployment.resource_shape"),
    Moved(key=f"{TASK}.container", to=f"{TASK}.image"),
)

_SUBMITTED_HERE = "jobs are submitted from the machine that evaldock runs on"
_OWN_MOUNTS = (
    "paths in model_path, params.extra and data.path are mounted by themselves, as they are on this host"
)
_OWN_RESULTS = "results.yml and run.lock.yaml record what was run; free text is not kept"
_OWN_PROBE = "readiness is a scored completion, not a route that answers"
_ADAPTER = "target.api_endpoint.adapter_config"

DROPPED = (
    Dropped(key="metadata", why=_OWN_RESULTS),
    Dropped(key="user_provided_metadata", why=_OWN_RESULTS),
    Dropped(key="user_config_path", why=_OWN_RESULTS),
    Dropped(key="name", why="a run is named by its id"),
    Dropped(key="hydra", why="nothing here is composed by Hydra"),
    Dropped(key="framework_name", why="the task's name says which harness: harness.task"),
    Dropped(key="pkg_name", why="the task's name says which harness: harness.task"),
    Dropped(key="execution.hostname", why=_SUBMITTED_HERE),
    Dropped(key="execution.username", why=_SUBMITTED_HERE),
    Dropped(key="execution.cpu_partition", why="an evaluation runs in execution.partition"),
    Dropped(key="execution.ntasks_per_node", why="the deployment decides how many processes a node runs"),
    Dropped(key="execution.deployment", why="the deployment decides how many processes a node runs"),
    Dropped(
        key="execution.max_walltime", why="no job submits itself again; `evaldock resume` goes on with a run"
    ),
    Dropped(key="execution.subproject", why="it only names jobs"),
    Dropped(key="execution.sbatch_comment", why="it only names jobs"),
    Dropped(key="execution.sbatch_extra_flags", why="further flags are not handed to the scheduler"),
    Dropped(key="execution.mounts", why=_OWN_MOUNTS),
    Dropped(key="execution.proxy", why="replicas stand behind evaldock's own balancer"),
    Dropped(key="execution.mode", why="tasks run one after another"),
    Dropped(key="execution.evaluation_gpu_visible", why="evaluation.gpus gives the harness its share"),
    Dropped(key="execution.env_var_names", why="endpoints name the variables with their keys: api_key_name"),
    Dropped(key="execution.evaluation_tasks", why="execution.time_limit bounds a run"),
    Dropped(
        key="execution.lepton_platform",
        why="execution.node_group and execution.resource_shape say where to run",
    ),
    Dropped(
        key="deployment.lepton_config",
        why="deployment.resource_shape and deployment.replicas say what to start",
    ),
    Dropped(key="deployment.cache_path", why="compiled kernels are cached by evaldock itself"),
    Dropped(key="deployment.n_tasks", why="the deployment decides how many processes a node runs"),
    Dropped(key="deployment.haproxy_port", why="replicas stand behind evaldock's own balancer"),
    Dropped(key="deployment.health_check_path", why=_OWN_PROBE),
    Dropped(key="deployment.health_check_status", why=_OWN_PROBE),
    Dropped(
        key="deployment.distributed_executor_backend", why="the backend decides how its nodes work together"
    ),
    Dropped(key=f"{TASK}.dataset_mount_path", why="data.path is mounted where the harness looks for it"),
    Dropped(key=f"{_ADAPTER}.mode", why="the adapter is a server of its own"),
    Dropped(key=f"{_ADAPTER}.include_json", why="report.html and summary.json are always written"),
    Dropped(key=f"{_ADAPTER}.output_dir", why="the adapter writes into the task's folder"),
    Dropped(key=f"{_ADAPTER}.logging_aggregated_stats_interval", why="statistics are written at the end"),
)

_NO_SHELL = "no shell command is run before or after anything"
_PREPARE = "prepare the data or the image beforehand, then remove the key"
_NVCF = "answers that are fetched by polling are not read"

REFUSED: tuple[Refused, ...] = (
    Refused(
        key="command",
        why="a harness is started by its own definition, not by a shell command",
        next_step="remove it; framework.yml of the harness holds its command line",
    ),
    *(
        Refused(key=f"{section}.{key}", why=_NO_SHELL, next_step=_PREPARE)
        for section in ("deployment", "evaluation", TASK)
        for key in ("pre_cmd", "post_cmd")
    ),
    *(
        Refused(
            key=f"deployment.{key}",
            why="a server is started by its backend, not by a shell command",
            next_step="give arguments in deployment.extra_args, or start the server yourself and name it in "
            "target.api_endpoint.url",
        )
        for key in ("base_command", "command_template")
    ),
    Refused(
        key="execution.extra_docker_args",
        why="containers are started by their plan, which takes no further flags of an engine",
        next_step="remove it; docs/nemo.md names the keys for GPUs, memory, network and data",
    ),
    Refused(
        key="auxiliary_deployments",
        why="one run starts one model",
        next_step="start the other model first (`evaldock run` takes one deployment) and name it: "
        "target.auxiliary.judge: {url: …, model_id: …}",
    ),
    Refused(key=f"{_ADAPTER}.use_nvcf", why=_NVCF, next_step="evaluate an endpoint that answers at once"),
    Refused(
        key=f"{_ADAPTER}.use_omni_info",
        why="image assets are not uploaded to a vendor's store",
        next_step="evaluate an endpoint that takes images in the request",
    ),
)

ROWS: tuple[Moved | Dropped | Refused, ...] = (*MOVED, *DROPPED, *REFUSED)
