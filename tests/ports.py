"""Ports for servers that a test starts."""

import random
import socket
from pathlib import Path


def free_port() -> int:
    """A port that nobody listens on, nor is given before the server listens there.

    The system gives the port of ``bind(0)`` to the next process that asks for any, and Ray's ask for many.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(lowest - 10_000, lowest), 100):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("no port is free")
