"""The adapter's unit and its settings: which endpoints it stands before, through which chain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from evaldock.compiler.inputs import Inputs
from evaldock.compiler.server import numeric_flags
from evaldock.compiler.tasks import RESULTS_TARGET, Asked
from evaldock.plan import ADAPTER_FOLDER, SETTINGS_NAME, Adapter, Mount, Stop, Unit, UnitNetwork
from evaldock.registry import ADAPTER_IMAGE
from evaldock_entrypoints.contract.adapter import AdapterSettings, Served, TaskSettings, identity_of
from evaldock_entrypoints.contract.built_in_interceptors import CACHING, ENDPOINT
from evaldock_entrypoints.contract.chain import caching_of, chain_of, module_folders, notes_of, policy_of
from evaldock_entrypoints.contract.endpoint import base_url, is_local, type_of_route
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.layers import KeyPath
from evaldock_entrypoints.contract.target import ApiEndpoint, AuxiliaryEndpoint, Interceptor

SHARED_TARGET = "/mnt/shared"
MODULES_TARGET = "/mnt/interceptors"
CERTIFICATES_TARGET = "/evaldock/certificates.pem"
_TARGET: KeyPath = ("target", "api_endpoint")


@dataclass(frozen=True, kw_only=True)
class _Model:
    """One model of the document, before a task asks for it. mounts: folders of shared answers."""

    base_urls: list[str]
    model_id: str
    api_key_name: str | None
    identity: str
    chain: tuple[Interceptor, ...]
    stream: bool
    mounts: tuple[Mount, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the adapter goes for this model: to its endpoints, and to whom progress is told."""
        return (*self.base_urls, *_told(self.chain))

    def served(self, endpoint_type: EndpointType, *, request_timeout: float, max_retries: int) -> Served:
        return Served(
            base_urls=self.base_urls,
            model_id=self.model_id,
            type=endpoint_type,
            api_key_name=self.api_key_name,
            identity=self.identity,
            interceptors=list(self.chain),
            request_timeout_s=request_timeout,
            max_retries=max_retries,
            stream=self.stream,
        )


def adapter_of(inputs: Inputs, tasks: Sequence[Asked]) -> Adapter:
    """Return the one adapter of all tasks; raises UsageError."""
    target = _target(inputs)
    wanted = inputs.document.target.auxiliary
    others = {role: _auxiliary(inputs, role, number) for number, role in enumerate(wanted, start=1)}
    modules = _modules(inputs)
    settings = AdapterSettings(
        tasks={
            asked.name: TaskSettings(
                target=_served_to(target, asked),
                auxiliary={
                    role: _served_beside(model, wanted[role], asked) for role, model in others.items()
                },
                folder=f"{RESULTS_TARGET}/{asked.name}",
                modules=[mount.target for mount in modules],
            )
            for asked in tasks
        },
        folder=f"{RESULTS_TARGET}/{ADAPTER_FOLDER}",
    )
    return Adapter(unit=_unit(inputs, (target, *others.values()), modules), settings=settings)


def _modules(inputs: Inputs) -> tuple[Mount, ...]:
    """Return the mounts of the folders with interceptors of the user's own."""
    path: KeyPath = (*_TARGET, "adapter_config")
    folders = module_folders(inputs.document.target.api_endpoint.adapter_config)
    return tuple(
        inputs.mount(folder, f"{MODULES_TARGET}/{number}", (*path, "discovery", "dirs", number))
        for number, folder in enumerate(folders)
    )


def _unit(inputs: Inputs, models: Sequence[_Model], modules: Sequence[Mount]) -> Unit:
    keys = [model.api_key_name for model in models if model.api_key_name]
    proxies, settings, certificates = _way_out(inputs, models)
    return Unit(
        name="adapter",
        role="adapter",
        image=inputs.pins[ADAPTER_IMAGE],
        argv=("adapter", "--settings", f"{RESULTS_TARGET}/{ADAPTER_FOLDER}/{SETTINGS_NAME}"),
        network=_network(inputs, models),
        settings=settings,
        secret_names=tuple(dict.fromkeys((*keys, *proxies))),
        mounts=(
            Mount(source=inputs.around.run_dir, target=RESULTS_TARGET, read_only=False),
            *(mount for model in models for mount in model.mounts),
            *modules,
            *certificates,
        ),
    )


def _network(inputs: Inputs, models: Sequence[_Model]) -> UnitNetwork:
    if inputs.deploys:
        return "run"
    on_host = any(is_local(url) for model in models for url in model.addresses)
    return "host" if on_host or _uses_local_proxy(inputs, models) else "outside"


def _way_out(
    inputs: Inputs, models: Sequence[_Model]
) -> tuple[tuple[str, ...], dict[str, str], tuple[Mount, ...]]:
    """Return the proxies' variables, the settings and the mounts that lead to endpoints elsewhere."""
    if not _asks_elsewhere(inputs, models):
        return (), {}, ()
    way = inputs.around.way_out
    if way.certificates is None:
        return way.proxy_names, {}, ()
    mount = Mount(source=way.certificates, target=CERTIFICATES_TARGET)
    return way.proxy_names, {"SSL_CERT_FILE": CERTIFICATES_TARGET}, (mount,)


def _uses_local_proxy(inputs: Inputs, models: Sequence[_Model]) -> bool:
    return inputs.around.way_out.proxy_is_local and _asks_elsewhere(inputs, models)


def _asks_elsewhere(inputs: Inputs, models: Sequence[_Model]) -> bool:
    return not inputs.deploys and any(not is_local(url) for model in models for url in model.addresses)


def adapter_stops(inputs: Inputs, adapter: Adapter) -> Iterator[Stop]:
    """Yield what the adapter cannot do from where it stands: beside a deployment it has no way out."""
    chains = [task.target.interceptors for task in adapter.settings.tasks.values()]
    if inputs.deploys and any(_told(chain) for chain in chains):
        yield Stop(
            what="an address that progress is told to, beside a deployment (the run is sealed)",
            where=inputs.place(*_TARGET, "adapter_config"),
            next_step="remove the address; the file `progress` is written all the same",
        )


def adapter_notes(inputs: Inputs) -> Iterator[str]:
    """Yield what of the documents' adapter_config has no effect, with its place and the reason."""
    target = inputs.document.target
    models: list[tuple[KeyPath, ApiEndpoint]] = [(_TARGET, target.api_endpoint)]
    models += [(("target", "auxiliary", role), model) for role, model in target.auxiliary.items()]
    for path, model in models:
        yield from notes_of(model.adapter_config, inputs.merged, (*path, "adapter_config"))


def _told(chain: Sequence[Interceptor]) -> tuple[str, ...]:
    """Return the addresses that progress is told to."""
    steps = (step for step in chain if step.name == "progress_tracking" and step.enabled)
    return tuple(step.config["url"] for step in steps if step.config.get("url"))


def _target(inputs: Inputs) -> _Model:
    wanted = inputs.document.target.api_endpoint
    path: KeyPath = (*_TARGET, "adapter_config")
    chain = chain_of(wanted.adapter_config, inputs.merged, path)
    replicas = policy_of(chain).replicas
    if replicas and inputs.deploys:
        raise UsageError(
            "replicas of an endpoint mean nothing beside a deployment",
            where=inputs.place(*path),
            next_step="remove them, or set deployment: {type: none}",
        )
    urls = [inputs.base_url(), *_replicas(inputs, replicas, path)]
    chain, mounts = _with_mounts(inputs, _without_replicas(chain), 0, path)
    return _Model(
        base_urls=urls,
        model_id=inputs.model_id(),
        api_key_name=wanted.api_key_name,
        identity=_deployed(inputs) if inputs.deploys else _named(urls[0], inputs.model_id()),
        chain=chain,
        stream=bool(wanted.stream),
        mounts=mounts,
    )


def _auxiliary(inputs: Inputs, role: str, number: int) -> _Model:
    path: KeyPath = ("target", "auxiliary", role)
    wanted = inputs.document.target.auxiliary[role]
    if not wanted.url or not wanted.model_id:
        lacking = "model_id" if wanted.url else "url"
        raise UsageError(
            f'the model for the role "{role}" has no {lacking}',
            where=inputs.place(*path, lacking),
            next_step=f"add it: target: {{auxiliary: {{{role}: {{url: …, model_id: …}}}}}}",
        )
    config: KeyPath = (*path, "adapter_config")
    chain = chain_of(wanted.adapter_config, inputs.merged, config)
    replicas = _replicas(inputs, policy_of(chain).replicas, config)
    chain, mounts = _with_mounts(inputs, _without_replicas(chain), number, config)
    url = base_url(wanted.url, place=inputs.place(*path, "url"))
    return _Model(
        base_urls=[url, *replicas],
        model_id=wanted.model_id,
        api_key_name=wanted.api_key_name,
        identity=_named(url, wanted.model_id),
        chain=chain,
        stream=bool(wanted.stream),
        mounts=mounts,
    )


def _served_to(model: _Model, asked: Asked) -> Served:
    return model.served(
        asked.endpoint_type,
        request_timeout=asked.params["request_timeout"].value,
        max_retries=asked.params["max_retries"].value,
    )


def _served_beside(model: _Model, wanted: AuxiliaryEndpoint, asked: Asked) -> Served:
    """Return an auxiliary model as a task asks it: with bounds of its own, else the task's."""
    routed = type_of_route(wanted.url) if wanted.url else None
    retries = wanted.max_retries
    return model.served(
        wanted.type or routed or "chat",
        request_timeout=wanted.request_timeout or asked.params["request_timeout"].value,
        max_retries=asked.params["max_retries"].value if retries is None else retries,
    )


def _replicas(inputs: Inputs, urls: Sequence[str], path: KeyPath) -> Iterator[str]:
    for url in urls:
        yield base_url(url, place=inputs.place(*path))


def _without_replicas(chain: tuple[Interceptor, ...]) -> tuple[Interceptor, ...]:
    """Return the chain without the replicas, which stand beside the model's first address from now on."""
    return tuple(
        step.model_copy(update={"config": {k: v for k, v in step.config.items() if k != "replicas"}})
        if step.name == ENDPOINT
        else step
        for step in chain
    )


def _with_mounts(
    inputs: Inputs, chain: tuple[Interceptor, ...], number: int, path: KeyPath
) -> tuple[tuple[Interceptor, ...], tuple[Mount, ...]]:
    """Return the chain with the adapter's own paths in it, and the mounts that are there then."""
    caching = caching_of(chain)
    if caching.shared is None:
        return chain, ()
    target = f"{SHARED_TARGET}/{number}"
    config = caching.model_copy(update={"shared": target}).model_dump(mode="json", exclude_defaults=True)
    moved = tuple(
        step.model_copy(update={"config": config}) if step.name == CACHING else step for step in chain
    )
    mount = inputs.mount(caching.shared, target, path)
    return moved, (Mount(source=mount.source, target=target, read_only=False, key=mount.key),)


def _deployed(inputs: Inputs) -> str:
    """Return what tells this deployment's model from any other that could answer a shared request."""
    deployment = inputs.document.deployment
    pin = inputs.pins[deployment.type]
    path = deployment.model_path or ""
    return identity_of(
        *(deployment.type, pin.digest or pin.image_id or pin.reference),
        *(str(PurePosixPath(inputs.path(path))), inputs.around.model_stamp, inputs.model_id()),
        *numeric_flags(inputs),
    )


def _named(url: str, model_id: str) -> str:
    return identity_of(url.partition("?")[0], model_id)
