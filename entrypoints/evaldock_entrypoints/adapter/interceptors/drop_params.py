"""Takes fields out of each request: those that an endpoint refuses."""

from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.contract import request_interceptors as contract


class DropParams(Interceptor[contract.DropParams]):
    """Fields at the top of each body."""

    Config = contract.DropParams

    def on_request(self, call: Call) -> None:
        """Take them out where they are."""
        tree = call.body.tree or {}
        dropped = [name for name in self.config.params if name in tree]
        for name in dropped:
            call.body.edit().pop(name, None)
