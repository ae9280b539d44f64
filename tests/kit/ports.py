"""Ports that nobody listens on."""

import socket


def free_port() -> int:
    """Return a TCP port of the loopback that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
