"""The engine and the images of the container tests."""

from tests.containers.conftest import client, engine_host, images, model, nothing_left_behind

__all__ = ["client", "engine_host", "images", "model", "nothing_left_behind"]
