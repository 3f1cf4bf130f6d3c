"""``motif serve``: model folders behind an HTTP API and a web page."""

import json
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
import yaml

from base.errors import InputError
from base.processes.separate import SeparateCall
from base.storage.uri import without_password
from diffusion.options import SamplingChanges
from infra.cli import STARTED
from infra.options import parse, report
from serving.deploy.config import Config, Replicas
from serving.generate.signing import open_signer
from serving.settings import Compute, Settings, read_keys

_USAGE = "motif serve MODEL [NAME=MODEL ...] [OPTIONS]"
_HERE = ("localhost", "127.0.0.1", "::1")
_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # not addresses to connect to


@dataclass(frozen=True)
class Options:
    """Serve model folders, or the newest checkpoints of runs; the first is the default of requests."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all, which requires --keys."""
    port: int = 8000
    """Port to listen on, from 1 to 65535."""
    keys: Path | None = None
    """A text file of bearer keys, one per line."""
    write_config: Path | None = None
    """Write the config file of a cluster (`serve deploy FILE`) instead of serving."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = Settings()
    compute: Annotated[Compute, tyro.conf.arg(name="")] = Compute()
    replicas: Annotated[Replicas, tyro.conf.arg(name="")] = Replicas(cpus=0)
    sampling: Annotated[SamplingChanges, tyro.conf.arg(name="")] = SamplingChanges()

    def __post_init__(self) -> None:
        """Check the port."""
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port}: must be from 1 to 65535")


def main(args: list[str]) -> int:
    """Run the command."""
    try:
        _run(args)
    except KeyboardInterrupt:
        report("motif: interrupted before it was ready.")
        return 130
    return 0


def _run(args: list[str]) -> None:
    count = next((n for n, arg in enumerate(args) if arg.startswith("-")), len(args))
    if not count and not {"-h", "--help"} & set(args):
        raise InputError(f"MODEL is missing. Usage: {_USAGE}")
    options = parse(Options, args[count:], "motif serve MODEL")
    wanted = (args[:count], _settings(options), options.compute, options.replicas, options.sampling)
    with SeparateCall("serving.deploy.resolve:resolve", *wanted) as resolving:
        if options.write_config:
            config, _ = resolving.result()
            options.write_config.write_text(_as_yaml(config, options))
            report(f"{options.write_config} is written; run `serve deploy {options.write_config}` on its head node.")
            return
        check_port(options.host, options.port)
        report("importing Ray")  # it takes seconds, as looking at the models does
        from serving.deploy.app import Running

        config, models = resolving.result()
    imported = round(time.perf_counter() - STARTED, 2)
    with Running(config, models, options.host, options.port, report) as running:
        stopping, at_once = threading.Event(), threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):  # only now: Ray installs its own handlers when it starts
            signal.signal(number, lambda *_: (at_once if stopping.is_set() else stopping).set())
        _tell(config, options, {"import": imported, **running.seconds})
        stopping.wait()
        running.drain(at_once)


def _tell(config: Config, options: Options, phases: dict[str, float]) -> None:
    url = url_of(options.host, options.port)
    summary = {"url": url, "models": [place.name for place in config.models], "seconds": phases}
    print(json.dumps(summary), flush=True)
    total = sum(phases[name] for name in ("import", "ray", "serve", "application"))
    report(f"Ready after {total:.0f} s: {url} is the page, {url}/v1/videos the API. Press Ctrl+C to stop.")


def url_of(host: str, port: int) -> str:
    """The URL of a server at this address, as seen from its machine."""
    host = _ALL.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _settings(options: Options) -> Settings:
    """The server's settings; InputError if options are missing or inconsistent."""
    keys = read_keys(options.keys) if options.keys else options.settings.key_hashes
    here = options.host in _HERE
    if not keys and not here:
        raise InputError(
            f"--host {options.host}: a server that others can reach requires API keys. Write some to a file and give "
            "it with --keys, or omit --host."
        )
    database = options.settings.database
    if options.write_config and without_password(database) != database:
        raise InputError(
            f"--database {without_password(database)}: its password would be written to {options.write_config}. "
            "Omit it there, and set PGPASSWORD, or write a .pgpass file, on every node."
        )
    hosts = options.settings.hosts or (_HERE if here and not keys else ())
    try:
        settings = replace(_anywhere(options.settings), key_hashes=keys, hosts=hosts)
    except ValueError as error:
        raise InputError(f"{error}.") from error
    open_signer(settings)
    return settings


def _anywhere(settings: Settings) -> Settings:
    """With absolute paths, since a config file is read in another working directory."""
    return replace(
        settings,
        folder=_absolute(settings.folder),
        c2pa_certificates=_absolute(settings.c2pa_certificates),
        c2pa_key=_absolute(settings.c2pa_key),
    )


def _absolute(path: str) -> str:
    return path if "://" in path or not path else str(Path(path).absolute())


def check_port(host: str, port: int) -> None:
    """InputError if this process cannot listen there."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # Serve prefers IPv4
        with socket.create_server(address, family=family):
            pass
    except OSError as error:  # an unknown host has its own error numbers
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise InputError(f"--port {port}: cannot listen on {host} at this port ({why}). Give another.") from error


def _as_yaml(config: Config, options: Options) -> str:
    """A Ray Serve config file."""
    application = {
        "name": "motif",
        "route_prefix": "/",
        "import_path": "serving.deploy.app:build",
        "args": json.loads(json.dumps(config.to_dict())),
    }
    http = {"host": options.host, "port": options.port}
    return str(yaml.safe_dump({"http_options": http, "applications": [application]}, sort_keys=False))
