"""How an endpoint is asked: pool, timeouts, retries, limits, replicas."""

from evaldock_entrypoints.adapter.upstream.descriptors import connection_room
from evaldock_entrypoints.adapter.upstream.endpoint import Upstream
from evaldock_entrypoints.adapter.upstream.terms import Terms, terms_of

__all__ = ["Terms", "Upstream", "connection_room", "terms_of"]
