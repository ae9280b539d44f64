"""Which container engines there are, and what keeps one from being of use."""

from collections.abc import Iterator

from evaldock.diagnosis import own_engine
from evaldock.diagnosis.engine_api import DeadEngine, Engine, Trouble
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, lack, note, ok
from evaldock.diagnosis.podman import Podman

_OLDEST_API = (1, 40)  # Docker 19.03: device requests, which GPUs are asked for with
_KEEP = "evaldock quickstart --keep-engine"

_TROUBLES: dict[Trouble, tuple[str, str]] = {
    "absent": ("nothing is there", "start that engine, or: unset DOCKER_HOST"),
    "refused": ("nobody listens there", "start that engine (systemctl start docker), or: unset DOCKER_HOST"),
    "forbidden": ("you may not use it", "as root: usermod -aG docker $USER, then log in again"),
    "silent": ("it takes connections and does not answer", "restart that engine: systemctl restart docker"),
    "strange": (
        "what answers is no Docker API",
        "point DOCKER_HOST at an engine: unix://… or tcp://HOST:2375",
    ),
}


def findings(facts: Facts) -> Iterator[Finding]:
    """Say what evaldock will use, then every engine by itself."""
    yield _choice(facts)
    for engine in facts.engines:
        yield _answering(engine, facts)
        if engine is facts.engine:
            yield from _odd_ways(engine)
    for dead in facts.dead:
        if dead.address.named or dead.trouble not in {"absent", "refused"}:
            yield _dead(dead)
    if facts.podman:
        yield _podman(facts.podman)


def _choice(facts: Facts) -> Finding:
    what = "container engine"
    if engine := facts.engine:
        return ok(what, f"{_name(engine)} at {engine.address.url} ({engine.address.source})")
    named = next((dead for dead in facts.dead if dead.address.source == "DOCKER_HOST"), None)
    if named:
        return lack(
            what, f"none answers at DOCKER_HOST={named.address.url}", _TROUBLES[named.trouble][1], needed=True
        )
    if facts.podman and not facts.podman.trouble:
        return ok(what, "podman, for no Docker answers")
    if not (missing := own_engine.blockers()):
        return note(what, "none answers; evaldock starts its own dockerd for each command", _KEEP)
    if elsewhere := next(iter(facts.engines), None):
        return lack(
            what, "none where evaldock looks", f"export DOCKER_HOST={elsewhere.address.url}", needed=True
        )
    return lack(
        what,
        f"none answers, and evaldock cannot start its own: {missing}",
        "start one: systemctl start docker (or as root: apt-get install docker.io)",
        needed=True,
    )


def _answering(engine: Engine, facts: Facts) -> Finding:
    what, info = f"engine at {engine.address.source}", engine.info
    rights = "rootless" if engine.secured_by("rootless") else "rootful"
    found = (
        f"{_name(engine)}, API {engine.version.api_version}, {rights}, storage {info.driver}, "
        f"control groups v{info.cgroup_version} by {info.cgroup_driver}"
    )
    if _numbers(engine.version.api_version) < _OLDEST_API:
        oldest = ".".join(map(str, _OLDEST_API))
        return lack(
            what,
            f"{found}: evaldock needs API {oldest}",
            "install a newer engine: apt-get install docker.io",
            needed=engine is facts.engine,
        )
    if engine.address.tried or engine is facts.engine:
        return ok(what, found)
    return note(what, f"{found}; evaldock does not use it", f"export DOCKER_HOST={engine.address.url}")


def _odd_ways(engine: Engine) -> Iterator[Finding]:
    if engine.is_podman:
        yield lack(
            "podman as docker",
            "through the Docker API it ignores wishes for GPUs, seals no network, and does not tell that "
            "memory ran out: refused where a run needs them",
            "evaldock run … -o execution.engine=podman (podman's own command), or a Docker engine",
        )
    if not engine.is_local:
        yield note(
            "remote engine",
            f"{engine.info.name or engine.address.url} mounts its own folders and not those of this machine",
            "have models and results on storage that both see under the same path",
        )


def _dead(dead: DeadEngine) -> Finding:
    seen, fix = _TROUBLES[dead.trouble]
    detail = f": {dead.detail}" if dead.trouble == "strange" and dead.detail else ""
    what = f"engine at {dead.address.source}"
    return lack(what, f"{dead.address.url}: {seen}{detail}", fix)


def _podman(podman: Podman) -> Finding:
    if podman.trouble:
        return lack("podman", podman.trouble, "podman info (shows the whole message)")
    info = podman.info
    rights = "rootless" if info.host.security.rootless else "rootful"
    found = (
        f"{info.version.version}, API {info.version.api_version}, {rights}, "
        f"storage {info.store.graph_driver_name}, control groups {info.host.cgroup_version} by "
        f"{info.host.cgroup_manager}, {info.host.oci_runtime.name}, network {info.host.network_backend}"
    )
    if info.store.graph_driver_name == "vfs":
        return note(
            "podman", f"{found}; vfs copies the image for each container", "export STORAGE_DRIVER=overlay"
        )
    return ok("podman", found)


def _name(engine: Engine) -> str:
    return f"{'podman' if engine.is_podman else 'docker'} {engine.version.version}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
