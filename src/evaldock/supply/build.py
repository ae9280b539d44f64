"""Building images: what changed is built in dependency order, stored in one OCI layout and locked."""

import fcntl
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from evaldock.supply import buildah
from evaldock.supply.apt import AptSettings, read_apt_settings
from evaldock.supply.bootstrap import bootstrap
from evaldock.supply.context import staged, staged_tools
from evaldock.supply.host import ensure_packages
from evaldock.supply.index import read_index_settings
from evaldock.supply.layout import StoredImage, adopt, blob_path, compressed_layers, is_complete, single_view
from evaldock.supply.lock import ImagesLock, LockedImage, read_lock, write_lock
from evaldock.supply.paths import cache_home, checkout_root, image_store
from evaldock.supply.public_base import chosen_base, fetch
from evaldock.supply.recipes import INPUT_HASH_LABEL, Cookbook, Recipe, input_hashes, public_base, tools_hash
from evaldock.supply.secrets import BuildSecrets, build_secrets
from evaldock.supply.steps import Report, Steps

BUILD_PACKAGES = ("buildah", "debian-archive-keyring", "mmdebstrap", "mount", "skopeo")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One image of a build: its recipe, its input hash, and its lock entry when that is still true."""

    recipe: Recipe
    input_hash: str
    locked: LockedImage | None


def survey(names: Sequence[str] = (), *, base: str | None = None, root: Path | None = None) -> list[Wanted]:
    """Return the images of these names (none: all) with their parents, parents first; builds nothing.

    base: a public image by digest, "bootstrap", or None for what the last build stood on.
    """
    root = root or checkout_root()
    cookbook = Cookbook(root=root, base=chosen_base(base))
    recipes = cookbook.with_parents(list(names) or cookbook.names())
    hashes = input_hashes(recipes, tools_hash(root))
    lock = read_lock()
    return [
        Wanted(
            recipe=recipe,
            input_hash=hashes[recipe.name],
            locked=_still_true(lock, recipe, hashes[recipe.name]),
        )
        for recipe in recipes
    ]


def build_images(
    names: Sequence[str] = (),
    *,
    base: str | None = None,
    report: Report,
    root: Path | None = None,
    storage: buildah.Storage | None = None,
) -> dict[str, LockedImage]:
    """Build what changed of these images (none: all) and of their parents, and return all of them locked.

    Raises UsageError for an unknown name or a base without a digest, ExecutionError when a build fails.
    """
    root = root or checkout_root()
    wanted = survey(names, base=base, root=root)
    if all(image.locked for image in wanted):
        return {image.recipe.name: image.locked for image in wanted if image.locked}
    ensure_packages(BUILD_PACKAGES, report=report)
    steps = Steps(log_path=cache_home() / "logs" / time.strftime("build-%Y%m%dT%H%M%S.log"), report=report)
    with one_build_at_a_time(), build_secrets(read_index_settings(), apt := read_apt_settings()) as secrets:
        site = _Site(
            root=root, storage=storage or buildah.default_storage(), steps=steps, secrets=secrets, apt=apt
        )
        try:
            return _build_all(site, survey(names, base=base, root=root))
        finally:
            buildah.release(site.storage)


@dataclass(frozen=True, kw_only=True)
class _Site:
    """What every build of one call shares."""

    root: Path
    storage: buildah.Storage
    steps: Steps
    secrets: BuildSecrets
    apt: AptSettings


def _build_all(site: _Site, wanted: Sequence[Wanted]) -> dict[str, LockedImage]:
    built: dict[str, LockedImage] = {}
    for image in wanted:
        locked = image.locked or _build_one(site, image, built)
        if image.locked is None:
            write_lock(read_lock().replacing(locked))
        built[locked.name] = locked
    return built


def _build_one(site: _Site, image: Wanted, built: Mapping[str, LockedImage]) -> LockedImage:
    recipe = image.recipe
    public = public_base(recipe)
    draft = LockedImage(
        name=recipe.name,
        kind=recipe.kind,
        version=recipe.version,
        digest="sha256:" + "0" * 64,
        image_id="sha256:" + "0" * 64,
        size_bytes=0,
        base_digest=built["base"].digest if "base" in built else public and public.rpartition("@")[2],
        public_base=public,
        input_hash=image.input_hash,
    )
    name = buildah.local_name(draft.reference)
    with site.steps.step(f"image {recipe.name}"):
        build_args, mounts = _surroundings(site, recipe, built)
        with staged(recipe.files) as context:
            buildah.build(
                site.storage,
                site.steps,
                context=context,
                name=name,
                build_args=build_args,
                labels=_labels(draft, recipe),
                mounts=mounts,
            )
        stored = _store(site, name, draft.layout_name)
    return draft.model_copy(update=asdict(stored))


def _store(site: _Site, name: str, layout_name: str) -> StoredImage:
    """Put a built image into the store, compressing only layers that no image of the store has.

    buildah skips a layer whose blob is there under its uncompressed digest; empty files stand for known ones:
    https://github.com/containers/image/blob/v5.23.1/oci/layout/oci_dest.go (TryReusingBlob).
    """
    store = image_store()
    store.mkdir(parents=True, exist_ok=True)
    known = compressed_layers(store)
    with tempfile.TemporaryDirectory(dir=store, prefix=".draft-") as folder:
        draft = Path(folder)
        (draft / "blobs" / "sha256").mkdir(parents=True)
        for diff_id in known:
            blob_path(draft, diff_id).touch()
        buildah.push(site.storage, site.steps, name=name, layout=draft)
        return adopt(store, draft, layout_name, known)


def _surroundings(
    site: _Site, recipe: Recipe, built: Mapping[str, LockedImage]
) -> tuple[dict[str, str], list[str]]:
    """Return the build arguments and mounts of a recipe, its parents brought into the storage."""
    if not recipe.parents:
        if public := public_base(recipe):
            fetch(site.storage, site.steps, public)
        else:
            _bootstrapped(site, recipe.build_args["DISTRO"])
        return dict(recipe.build_args), site.secrets.secret_argv()
    parents = {parent.upper(): _present(site, built[parent]) for parent in recipe.parents}
    cache = cache_home() / "uv"
    cache.mkdir(exist_ok=True)
    volumes = [
        f"--volume={staged_tools(site.root)}:/run/evaldock/tools:ro",
        f"--volume={cache}:/run/evaldock/cache",
    ]
    mounts = [*site.secrets.secret_argv(), *site.secrets.volume_argv(), *volumes]
    return {**parents, "TOOLS_HASH": tools_hash(site.root)}, mounts


def _bootstrapped(site: _Site, name: str) -> None:
    if not buildah.has_image(site.storage, name):
        bootstrap(site.storage, site.steps, site.apt, name)


def _present(site: _Site, image: LockedImage) -> str:
    """Return the local name of a built image, from the layout when the storage was emptied meanwhile."""
    name = buildah.local_name(image.reference)
    if not buildah.has_image(site.storage, name):
        with single_view(image_store(), image.digest) as view:
            buildah.pull(site.storage, site.steps, layout=view, image_id=image.image_id, name=name)
    return name


def _labels(draft: LockedImage, recipe: Recipe) -> dict[str, str]:
    created = datetime.fromtimestamp(buildah.SOURCE_DATE_EPOCH, tz=UTC).isoformat()
    labels = {
        **recipe.labels,
        INPUT_HASH_LABEL: draft.input_hash,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.version": draft.version,
    }
    return labels | ({"org.opencontainers.image.base.digest": draft.base_digest} if draft.base_digest else {})


def _still_true(lock: ImagesLock, recipe: Recipe, input_hash: str) -> LockedImage | None:
    """Return the lock entry when its inputs are the same and the store still holds it."""
    image = lock.images.get(recipe.name)
    if image is None or image.input_hash != input_hash:
        return None
    return image if is_complete(image_store(), image.digest) else None


@contextmanager
def one_build_at_a_time() -> Iterator[None]:
    """Wait until no other build or cleaning works on the caller's folders."""
    with (cache_home() / "build.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
