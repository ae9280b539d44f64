"""Taking away what older builds left: blobs of the store, layers of the cache, images in our own engine."""

import shutil

import docker

from evaldock.supply import buildah
from evaldock.supply.bootstrap import distro_name
from evaldock.supply.build import one_build_at_a_time
from evaldock.supply.dockerd import in_use, own_daemon
from evaldock.supply.layout import prune
from evaldock.supply.lock import ImagesLock, read_lock
from evaldock.supply.paths import image_store
from evaldock.supply.recipes import INPUT_HASH_LABEL
from evaldock.supply.steps import Report


def clean_images(report: Report) -> None:
    """Remove every image that images.lock does not name; other people's engines are left alone."""
    with one_build_at_a_time():
        lock = read_lock()
        if image_store().is_dir():
            freed_bytes = prune(image_store(), [image.digest for image in lock.images.values()])
            report(f"image store: freed {freed_bytes / 1024**2:.0f} MiB")
        _clean_layer_cache(lock, report)
    _clean_own_engine(lock, report)


def _clean_layer_cache(lock: ImagesLock, report: Report) -> None:
    storage = buildah.default_storage()
    if not storage.folder.is_dir() or not shutil.which("buildah"):
        return
    kept = {buildah.local_name(image.reference) for image in lock.images.values()} | {distro_name()}
    kept |= {image.public_base for image in lock.images.values() if image.public_base}
    try:
        removed = buildah.remove_all_but(storage, kept)
    finally:
        buildah.release(storage)
    report(f"layer cache: removed {removed} images and steps")


def _clean_own_engine(lock: ImagesLock, report: Report) -> None:
    daemon = own_daemon()
    if not daemon.data.is_dir():
        return
    kept = {image.image_id for image in lock.images.values()}
    with in_use(daemon, keep=False):
        client = docker.DockerClient(base_url=daemon.docker_host)
        try:
            ours = client.images.list(filters={"label": INPUT_HASH_LABEL})
            ids = {image.id for image in ours if image.id} - kept
            stale = [image_id for image_id in ids if not _is_used(client, image_id)]
            for image_id in stale:
                client.images.remove(image_id, force=True)  # it may carry several names
        finally:
            client.close()
    report(f"our own engine: removed {len(stale)} images")


def _is_used(client: docker.DockerClient, image_id: str) -> bool:
    return bool(client.containers.list(all=True, filters={"ancestor": image_id}))
