"""The process that serves a study."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from evaluation.serve.app import build_app
from evaluation.serve.store import VoteStore

_GRACE_S = 5


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve_study(folder: Path, store: VoteStore, host: str, port: int, ready: Callable[[], None]) -> None:
    """Serve a study until SIGINT or SIGTERM; ``ready`` is called once it listens. The port must be free.

    Addresses of raters are not logged.
    """
    config = uvicorn.Config(
        build_app(folder, store), host=host, port=port, log_level="warning", access_log=False,
        timeout_graceful_shutdown=_GRACE_S, server_header=False,
    )  # fmt: skip
    before = {number: signal.signal(number, _ignored) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _Server(config, ready).run()  # handles these signals, and raises them again at its end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        store.close()


def _ignored(*_: object) -> None:
    pass
