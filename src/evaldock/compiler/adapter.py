"""The adapter's unit and its settings: which endpoints it stands before, through which chain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from evaldock.compiler.asked import Asked
from evaldock.compiler.inputs import Inputs
from evaldock.compiler.server import numeric_flags
from evaldock.compiler.tasks import RESULTS_TARGET, module_mounts
from evaldock.plan import ADAPTER_FOLDER, SETTINGS_NAME, Adapter, Mount, Stop, Unit, UnitNetwork
from evaldock.registry import ADAPTER_IMAGE
from evaldock_entrypoints.contract.adapter import AdapterSettings, TaskSettings, identity_of
from evaldock_entrypoints.contract.built_in_interceptors import CACHING
from evaldock_entrypoints.contract.chain import caching_of, notes_of
from evaldock_entrypoints.contract.endpoint import is_local
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath
from evaldock_entrypoints.contract.served import Model, auxiliary_model, auxiliary_served, model_at
from evaldock_entrypoints.contract.target import ApiEndpoint, Interceptor
from evaldock_entrypoints.contract.tasks import plain

SHARED_TARGET = "/mnt/shared"
CERTIFICATES_TARGET = "/evaldock/certificates.pem"
_TARGET: KeyPath = ("target", "api_endpoint")


@dataclass(frozen=True, kw_only=True)
class _Mounted:
    """A model with its adapter's own paths in it. mounts: folders of shared answers."""

    model: Model
    mounts: tuple[Mount, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the adapter goes for this model: to its endpoints, and to whom progress is told."""
        return (*self.model.base_urls, *_told(self.model.chain))


def adapter_of(inputs: Inputs, tasks: Sequence[Asked]) -> Adapter:
    """Return the one adapter of all tasks; raises UsageError."""
    target = _target(inputs)
    roles = inputs.document.target.auxiliary
    others = {role: _auxiliary(inputs, role, number) for number, role in enumerate(roles, start=1)}
    modules = module_mounts(inputs)
    settings = AdapterSettings(
        tasks={
            asked.name: TaskSettings(
                target=target.model.served(asked.endpoint_type, plain(asked.params)),
                auxiliary={
                    role: auxiliary_served(other.model, plain(asked.params)) for role, other in others.items()
                },
                folder=f"{RESULTS_TARGET}/{asked.name}",
                modules=[mount.target for mount in modules],
            )
            for asked in tasks
        },
        folder=f"{RESULTS_TARGET}/{ADAPTER_FOLDER}",
    )
    return Adapter(unit=_unit(inputs, (target, *others.values()), modules), settings=settings)


def _unit(inputs: Inputs, models: Sequence[_Mounted], modules: Sequence[Mount]) -> Unit:
    names = (each.model.wanted.api_key_name for each in models)
    keys = [name for name in names if name]
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
            *(mount for each in models for mount in each.mounts),
            *modules,
            *certificates,
        ),
    )


def _network(inputs: Inputs, models: Sequence[_Mounted]) -> UnitNetwork:
    if inputs.deploys:
        return "run"
    on_host = any(is_local(url) for each in models for url in each.addresses)
    return "host" if on_host or _uses_local_proxy(inputs, models) else "outside"


def _way_out(
    inputs: Inputs, models: Sequence[_Mounted]
) -> tuple[tuple[str, ...], dict[str, str], tuple[Mount, ...]]:
    """Return the proxies' variables, the settings and the mounts that lead to endpoints elsewhere."""
    if not _asks_elsewhere(inputs, models):
        return (), {}, ()
    way = inputs.around.way_out
    if way.certificates is None:
        return way.proxy_names, {}, ()
    mount = Mount(source=way.certificates, target=CERTIFICATES_TARGET)
    return way.proxy_names, {"SSL_CERT_FILE": CERTIFICATES_TARGET}, (mount,)


def _uses_local_proxy(inputs: Inputs, models: Sequence[_Mounted]) -> bool:
    return inputs.around.way_out.proxy_is_local and _asks_elsewhere(inputs, models)


def _asks_elsewhere(inputs: Inputs, models: Sequence[_Mounted]) -> bool:
    return not inputs.deploys and any(not is_local(url) for each in models for url in each.addresses)


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


def _target(inputs: Inputs) -> _Mounted:
    wanted = inputs.document.target.api_endpoint
    url, model_id = inputs.base_url(), inputs.model_id()
    model = model_at(wanted, inputs.merged, _TARGET, url=url, model_id=model_id)
    if inputs.deploys:
        if model.base_urls != (url,):
            raise UsageError(
                "replicas of an endpoint mean nothing beside a deployment",
                where=inputs.place(*_TARGET, "adapter_config"),
                next_step="remove them, or set deployment: {type: none}",
            )
        model = replace(model, identity=_deployed(inputs))
    return _mounted(inputs, model, 0, _TARGET)


def _auxiliary(inputs: Inputs, role: str, number: int) -> _Mounted:
    model = auxiliary_model(role, inputs.document.target.auxiliary[role], inputs.merged)
    return _mounted(inputs, model, number, ("target", "auxiliary", role))


def _mounted(inputs: Inputs, model: Model, number: int, path: KeyPath) -> _Mounted:
    """Return the model with the adapter's own paths in its chain, and the mounts that are there then."""
    caching = caching_of(model.chain)
    if caching.shared is None:
        return _Mounted(model=model, mounts=())
    target = f"{SHARED_TARGET}/{number}"
    config = caching.model_copy(update={"shared": target}).model_dump(mode="json", exclude_defaults=True)
    chain = tuple(
        step.model_copy(update={"config": config}) if step.name == CACHING else step for step in model.chain
    )
    mount = inputs.mount(caching.shared, target, (*path, "adapter_config"))
    return _Mounted(model=replace(model, chain=chain), mounts=(replace(mount, read_only=False),))


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
